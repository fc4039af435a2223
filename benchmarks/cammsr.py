"""How fast CAMMSR trains with guidance and all three swaps on, on a generated log of the size of Amazon Video Games
(games.py).

    python -m benchmarks.cammsr [--steps 20] [--runs 3] [--device cpu] [--out figures.json]
"""

from __future__ import annotations

from benchmarks.games import Subject, main

SUBJECT = Subject(name="cammsr", bar=3_600, prefix={"router_attention": "prefix"})

if __name__ == "__main__":
    main(SUBJECT, __doc__)
