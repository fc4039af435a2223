"""Write benchmarks/RESULTS.md from the figures kept in results/benchmarks; what is not there is pending.

python -m benchmarks.write                    (write it)
python -m benchmarks.write --run              (measure the short sections first; `make bench`)
python -m benchmarks.write --run train hm4sr  (measure these first)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import about
from benchmarks.sections import SECTIONS, Section
from medleyrec import storage

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "results" / "benchmarks", ROOT / "benchmarks" / "RESULTS.md"
OPENING = """# Measured

Written by `python -m benchmarks.write` from the JSON files in `results/benchmarks/`; do not edit. How each is measured:
[README.md](README.md) and the head of its script. `make bench` measures the short ones anew."""


def main() -> None:
    options = parsed()
    if options.run is not None:
        for name in options.run or [n for n, section in SECTIONS.items() if section.short]:
            measure(name)
    storage.write_text(PAGE, page(RESULTS))
    print(f"{PAGE} is written")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    alone = [name for name, section in SECTIONS.items() if can_run(section)]
    parser.add_argument("--run", nargs="*", choices=alone, metavar="NAME", help=f"of {', '.join(alone)}")
    return parser.parse_args()


def can_run(section: Section) -> bool:
    """Whether its command needs nothing that the caller must name."""
    return not any(word.isupper() for word in section.command.replace(",", " ").split())


def measure(name: str) -> None:
    section = SECTIONS[name]
    command = [sys.executable, "-m", *section.command.split(), "--out", str(RESULTS / section.file)]
    print(f"{name}: python {' '.join(command[1:])}", flush=True)
    subprocess.run(command, cwd=ROOT, check=True)
    storage.write_json(RESULTS / "machines" / f"{name}.json", about())


def page(results: Path) -> str:
    """The whole page of what is in the folder."""
    return "\n\n".join([OPENING, *(part(name, section, results) for name, section in SECTIONS.items())]) + "\n"


def part(name: str, section: Section, results: Path) -> str:
    found = read(results / section.file)
    lines = [f"## {section.title}", section.claim, f"    python -m {section.command}"]
    about = where(name, found, results)
    return "\n\n".join(
        [*lines, *([about] if about else []), section.rows(found) if found or name == "peers" else "Pending."]
    )


def read(path: Path) -> Any:
    """What a file holds, or the list of what the files of a folder hold; nothing where there is nothing."""
    if path.suffix:
        return storage.read_json(path) if path.exists() else None
    return [storage.read_json(file) for file in sorted(path.glob("*.json"))]


def where(name: str, found: Any, results: Path) -> str:
    """Machine and versions, as the figures themselves or the run that made them say."""
    said = read(results / "machines" / f"{name}.json") or (found if isinstance(found, dict) else {})
    told = "; ".join(said[part] for part in ("machine", "versions") if part in said)
    return told and f"{told}."


if __name__ == "__main__":
    main()
