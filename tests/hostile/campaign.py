"""Runs many cases in child processes, each case under a time limit, the whole under a memory limit, and counts.

    python -m tests.hostile.campaign KIND SEED      runs one case again, and says where its files are
    python -m tests.hostile.campaign COUNT          runs so many cases of all kinds

A case is its kind and its seed; the same two give the same files.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

CASE_SECONDS = 60
"""A case that takes longer hangs. Ordinary ones take well under a second; the bombs some seconds."""
CHILD_CASES = 400
"""A child ends after so many, so that what leaks stays small."""
ADDRESS_SPACE = 8 << 30
FILE_SIZE = 256 << 20
ROOT = Path(__file__).parents[2]
Key = tuple[str, int]


@dataclass(kw_only=True)
class Tally:
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, outcome) -> cases."""
    defects: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        names = sorted({outcome for _, outcome in self.outcomes})
        lines = [f"{'':14s}" + "".join(f"{n:>10s}" for n in names)]
        for kind in sorted({kind for kind, _ in self.outcomes}):
            lines.append(f"{kind:14s}" + "".join(f"{self.outcomes[kind, n]:10,}" for n in names))
        totals = [sum(count for (_, n), count in self.outcomes.items() if n == name) for name in names]
        return "\n".join([*lines, f"{'all':14s}" + "".join(f"{t:10,}" for t in totals)])

    def __len__(self) -> int:
        return self.outcomes.total()


def keys(shares: dict[str, int], *, first: int = 0) -> list[Key]:
    """Cases of each kind, from seed `first` on."""
    return [(kind, seed) for kind, count in shares.items() for seed in range(first, first + count)]


def run(cases: Sequence[Key], folder: Path, *, seconds: int = CASE_SECONDS) -> Tally:
    """Files of cases with a defect stay in `folder`; a case that takes longer than `seconds` has one."""
    tally, waiting = Tally(), list(cases)
    while waiting:
        ended = _child(waiting[:CHILD_CASES], folder, seconds)
        for (kind, seed), (outcome, told) in zip(waiting, ended, strict=False):
            tally.outcomes[kind, outcome] += 1
            if outcome == "DEFECT":
                tally.defects.append(f"{kind} {seed}: {told} [files in {folder / f'{kind}-{seed}'}]")
        waiting = waiting[len(ended) :]
    return tally


def _child(cases: Sequence[Key], folder: Path, seconds: int) -> list[tuple[str, str]]:
    """Outcomes of the first cases, in order: of all, or up to and with the one that ended the child."""
    homes = {name: folder / name.lower() for name in ("HOME", "TMPDIR")}
    for place in (*homes.values(), folder / "cwd"):
        place.mkdir(parents=True, exist_ok=True)
    results, errors = folder / "results.jsonl", folder / "stderr.txt"
    environment = os.environ | {n: str(p) for n, p in homes.items()}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    with errors.open("wb") as file:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.hostile.campaign", "--child", str(folder), str(results), str(seconds)],
            input=json.dumps(cases).encode(),
            cwd=folder / "cwd",
            env=environment,
            stdout=file,
            stderr=file,
            check=False,
        )
    found = [tuple(json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []
    results.unlink(missing_ok=True)
    if len(found) == len(cases):
        return found
    told = " ".join(errors.read_text(errors="replace").split())[-1500:]
    return [*found, ("DEFECT", f"hung or ended the process (exit code {ended.returncode}): {told}")]


def _work(folder: Path, results: Path, seconds: int) -> None:
    """The child: cases from the standard input, one line per finished case into `results`."""
    cases = [(kind, int(seed)) for kind, seed in json.loads(sys.stdin.read())]
    _limit()
    warnings.simplefilter("error")
    os.fsync = lambda handle: None  # thousands of waits for the disk show nothing here
    with results.open("w") as file:
        for kind, seed in cases:
            outcome, told = outcome_of(kind, seed, folder, seconds=seconds)
            print(json.dumps([outcome, told]), file=file, flush=True)


def outcome_of(
    kind: str, seed: int, folder: Path, *, keep: bool = False, seconds: int = CASE_SECONDS, log: TextIO = sys.stderr
) -> tuple[str, str]:
    from tests.hostile.kinds import KINDS, SABOTEURS
    from tests.hostile.verdict import DEFECT, judged

    place = folder / f"{kind}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    faulthandler.dump_traceback_later(seconds, exit=True, file=log)
    try:
        verdict = judged((KINDS | SABOTEURS)[kind], f"{kind} {seed}", place)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if verdict.outcome != DEFECT and not keep:
        shutil.rmtree(place)
    return verdict.outcome, verdict.told


def _limit() -> None:
    """Where the system can: address space and file size, so that a bomb fails here and not the machine."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))


def main(arguments: Sequence[str]) -> int:
    if arguments[0] == "--child":
        _work(Path(arguments[1]), Path(arguments[2]), int(arguments[3]))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    if len(arguments) == 2:
        warnings.simplefilter("error")
        outcome, told = outcome_of(arguments[0], int(arguments[1]), folder, keep=True)
        print(f"{outcome}: {told}\nfiles in {folder}")
        return outcome == "DEFECT"
    from tests.hostile.kinds import shares

    tally = run(keys(shares(int(arguments[0]))), folder)
    print(tally, *tally.defects, sep="\n")
    return bool(tally.defects)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
