"""Compares this work tree with another revision in one run, and fails where a case has become slower.

    python -m benchmarks.guard [REVISION]               (default: origin/main, or HEAD~1 where there is none)
    python -m benchmarks.guard REVISION --cases "train hm4sr" "rank all users" --rounds 10 --out guard.json

REVISION is anything that git knows, or a folder with another copy; --tree judges such a copy in place of this tree.
Both run the cases of guard_cases.py with the same interpreter and packages, on one thread, in processes that take
turns: the other, this, the other, this. A case's ratio is the median over rounds of this tree's figure by the other's;
more than 5 % is a failure (exit status 1).

What is compared is counted instructions where the processor lets a process count its own, else seconds of CPU. Whether
the seconds mean anything is told by the run itself: neighbouring rounds of ONE tree should agree. Where they do not
(noise beyond half the limit) and a case looks slower, it is counted again by Valgrind, if installed (minutes a case);
where that is not possible either, its limit is widened by the noise; what lies between is undecided (exit status 2).
What the other revision cannot run is said, and does not count; what this tree alone cannot run is a failure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import counting
from benchmarks.machine import about, load
from medleyrec import storage

LIMIT = 0.05
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # there since Python 3.11.4
ROOT = Path(__file__).resolve().parents[1]
CLOCK, COUNTER, VALGRIND = "seconds of CPU", "instructions", "instructions (Valgrind)"
Round = Mapping[str, Mapping[str, Any]]
"""Of one tree: case -> its figures, or its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    case: str
    measure: str = ""
    other: float = math.nan
    this: float = math.nan
    ratio: float = math.nan
    noise: float = 0.0
    """How far the ratio may be off by chance alone."""
    limit: float = LIMIT
    skipped: str = ""
    """Why it was not compared."""
    broken: bool = False
    """Whether it was not compared because this tree cannot run what the other one runs."""

    @property
    def slower(self) -> bool:
        return self.ratio > 1 + self.limit

    @property
    def undecided(self) -> bool:
        """Beyond the limit that holds on a quiet machine, and within what chance may do here."""
        return not self.slower and self.ratio > 1 + LIMIT

    @property
    def noisy(self) -> bool:
        return self.measure == CLOCK and self.noise > LIMIT / 2

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.case:24} {'BROKEN' if self.broken else 'not compared'}: {self.skipped}"
        told = "SLOWER" if self.slower else "UNDECIDED" if self.undecided else "ok"
        wide = f", noise {self.noise:.1%}" if self.noisy else ""
        return (
            f"{self.case:24} {self.other:.4g} -> {self.this:.4g} {self.measure}, ratio {self.ratio:.3f}{wide}  {told}"
        )


def compared(case: str, other: Sequence[Round], this: Sequence[Round]) -> Verdict:
    """The verdict on rounds that took turns, as far as they go without counting anew."""
    for tree, rounds in (("the other revision", other), ("this tree", this)):
        for found in rounds:
            if "error" in found[case]:
                why = f"{tree} cannot run it ({found[case]['error']})"
                return Verdict(case=case, skipped=why, broken=rounds is this)
    counted = all(found[case].get("instructions") for found in (*other, *this))
    unit, measure = ("instructions", COUNTER) if counted else ("seconds", CLOCK)
    a, b = ([float(found[case][unit]) for found in rounds] for rounds in (other, this))
    noise = chance(a, b)
    return Verdict(
        case=case,
        measure=measure,
        other=statistics.median(a),
        this=statistics.median(b),
        ratio=statistics.median(y / x for x, y in zip(a, b, strict=True)),
        noise=noise,
        limit=LIMIT + (noise if measure == CLOCK and noise > LIMIT / 2 else 0),
    )


def chance(*trees: Sequence[float]) -> float:
    """How far the median ratio of two equal trees would stray: two standard errors, from neighbours of ONE tree.

    Neighbouring rounds differ by chance alone. The deviation is taken from the median difference (1.48 times it, for
    normal noise), the error of a median of n is 1.25 deviations by the root of n.
    """
    apart = [abs(math.log(y / x)) for rounds in trees for x, y in pairwise(rounds)]
    if not apart:
        return 0.0
    return 2 * 1.25 * 1.48 * statistics.median(apart) / math.sqrt(min(len(rounds) for rounds in trees))


def recounted(verdict: Verdict, trees: tuple[Path, Path], patience: float) -> Verdict:
    """A noisy case that looks slower, counted by Valgrind; the same verdict where that is not possible."""
    if not verdict.noisy or verdict.ratio <= 1 + LIMIT or counting.valgrind() is None:
        return verdict
    command = [sys.executable, "-m", "benchmarks.guard_cases", "--valgrind", verdict.case]
    try:
        other, this = (counting.of_process(command, environment(tree), patience) for tree in trees)
    except (subprocess.SubprocessError, ValueError) as error:
        print(f"  {verdict.case}: Valgrind gave no count ({type(error).__name__})", file=sys.stderr)
        return verdict
    return Verdict(case=verdict.case, measure=VALGRIND, other=other, this=this, ratio=this / other)


def environment(tree: Path) -> dict[str, str]:
    """One thread, no chance in hashes, and the Medley of `tree`."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONHASHSEED": "0", "PYTHONPATH": str(tree / "src")}


def one_round(tree: Path, cases: Sequence[str], repeats: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.guard_cases", *cases, "--repeats", str(repeats)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(tree))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def sources(revision: str) -> Iterator[Path]:
    """A folder with `src` as of the revision."""
    if Path(revision).is_dir():
        yield Path(revision).resolve()
        return
    archive = subprocess.run(["git", "archive", revision, "src"], check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(folder, **SAFELY)
        yield Path(folder)


def default_revision() -> str:
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "origin/main"], cwd=ROOT, stdout=subprocess.DEVNULL, check=False
    )
    return "HEAD~1" if known.returncode else "origin/main"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default="")
    parser.add_argument("--tree", type=Path, default=ROOT, help="a copy to judge in place of this tree")
    parser.add_argument("--cases", nargs="+", help="by default all")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5, help="of a case in a process; the least counts")
    parser.add_argument("--patience", type=float, default=3600, help="seconds that Valgrind may take for a case")
    parser.add_argument("--out", "--json", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    revision = options.revision or default_revision()
    with sources(revision) as other:
        trees = other, options.tree.resolve()
        verdicts = judged(trees, options)
    for verdict in verdicts:
        print(verdict)
    kinds = ("slower", "undecided", "broken")
    slower, undecided, broken = ([v.case for v in verdicts if getattr(v, kind)] for kind in kinds)
    print(f"{len(slower)} of {len(verdicts)} cases slower than {revision} by more than {LIMIT:.0%}", *slower, sep="; ")
    if broken:
        print(f"this tree cannot run what {revision} runs", *broken, sep="; ")
    if undecided:
        print("too much noise to tell; run again on a quiet machine", *undecided, sep="; ")
    if options.out:
        rows = [{k: v for k, v in asdict(verdict).items() if v == v} for verdict in verdicts]
        storage.write_json(options.out, {"revision": revision, **about(), "load": load(), "cases": rows})
    return 1 if slower or broken else 2 if undecided else 0


def judged(trees: tuple[Path, Path], options: argparse.Namespace) -> list[Verdict]:
    rounds: tuple[list[Round], list[Round]] = ([], [])
    for number in range(options.rounds):
        for tree, found in zip(trees, rounds, strict=True):
            found.append(one_round(tree, options.cases or (), options.repeats))
        print(f"  round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    cases = list(rounds[1][0])
    return [recounted(compared(case, *rounds), trees, options.patience) for case in cases]


if __name__ == "__main__":
    sys.exit(main())
