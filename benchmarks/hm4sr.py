"""How fast HM4SR trains with all four losses on, on a generated log of the size of Amazon Video Games (games.py).

python -m benchmarks.hm4sr [--steps 20] [--runs 3] [--device cpu] [--out figures.json]
"""

from __future__ import annotations

from benchmarks.games import Subject, main

SUBJECT = Subject(name="hm4sr", bar=5_300, prefix={"placeholders": "prefix"})

if __name__ == "__main__":
    main(SUBJECT, __doc__)
