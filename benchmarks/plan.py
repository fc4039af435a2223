"""How well `medley plan` predicts: the plan of a run beside the run itself, each in a process of its own.

    python -m benchmarks.plan FOLDER [--beauty PROJECT] [--pictures PROJECT] [--case NAME ...] [--cpu] [--out FILE]

Cases on a prepared project with texts (--beauty) and on one with pictures and descriptions (--pictures), and a log that
is generated in FOLDER. A run of two epochs follows each plan. Measured: the highest resident memory of the training
process, by the system and by looking at it from outside, and the seconds of training and validation of its epochs.
Bars: 20 % for memory, 35 % for time. Plan and run share the machine with whatever else it does, and that may change
between them: `cores` says how many the run had. On a busy machine, --cpu with one thread (OMP_NUM_THREADS=1) lets both
count CPU seconds instead.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.logs import generate
from benchmarks.machine import about
from medleyrec import storage

MEMORY_BAR, TIME_BAR = 0.20, 0.35
LOOK_EVERY = 0.005  # seconds
EPOCHS = 2
LOG = {"events": 1_500_000, "users": 100_000, "items": 100_000}


@dataclass(frozen=True, kw_only=True)
class Case:
    """project: beauty, pictures or log; `flags` of both commands."""

    project: str
    flags: tuple[str, ...]


CASES: Mapping[str, Case] = {
    "sasrec": Case(project="beauty", flags=("--items", "id")),
    "sasrec-256": Case(project="beauty", flags=("--items", "id", "--set", "train.targets_per_step=256")),
    "gru4rec": Case(project="beauty", flags=("--model", "gru4rec", "--items", "id")),
    "bert4rec": Case(project="beauty", flags=("--model", "bert4rec", "--items", "id")),
    "hm4sr": Case(project="beauty", flags=("--model", "hm4sr", "--items", "id,text")),
    "cammsr": Case(project="pictures", flags=("--model", "cammsr", "--items", "id,text,image")),
    "dmesr": Case(
        project="pictures",
        flags=("--model", "dmesr", "--items", "described_image,described_text,described_both,attributes"),
    ),
    "log": Case(project="log", flags=("--items", "id")),
}


ON_CPU_TIME = "import time; time.perf_counter = time.thread_time; from medleyrec.cli import main; main()"


def medley(*words: str | Path, cpu: bool = False) -> list[str]:
    start = ["-c", ON_CPU_TIME] if cpu else ["-m", "medleyrec.cli"]
    return [sys.executable, *start, *map(str, words)]


def watched(command: list[str]) -> tuple[int, float, float]:
    """Peak resident bytes, wall seconds and CPU seconds of a process."""
    before, started, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, resident(process.pid))
            time.sleep(LOOK_EVERY)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return most, time.perf_counter() - started, cpu


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has just ended
        return 0


def compared(project: Path, case: Case, *, cpu: bool) -> dict[str, Any]:
    flags = [*case.flags, "--set", f"train.epochs={EPOCHS}", "--set", f"train.patience={EPOCHS}"]
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "plan.json"
        with told.open("w") as file:
            subprocess.run(medley("plan", project, *flags, "--json", cpu=cpu), stdout=file, check=True)
        plan = json.loads(told.read_text())
    shutil.rmtree(project / "runs", ignore_errors=True)
    peak, wall, spent = watched(medley("train", project, *flags, cpu=cpu))
    log = next((project / "runs").glob("*/train.jsonl")).read_text().splitlines()
    epochs = [json.loads(line) for line in log]
    seconds = sum(e["seconds"] + e["validation_seconds"] for e in epochs) / len(epochs)
    return {
        "memory_predicted": plan["peak_bytes"],
        "memory_measured": peak,
        "memory_error": plan["peak_bytes"] / peak - 1,
        "seconds_predicted": plan["seconds_per_epoch"],
        "seconds_measured": seconds,
        "time_error": plan["seconds_per_epoch"] / seconds - 1,
        "cores": spent / wall,
        "plan": plan,
    }


def projects(options: argparse.Namespace) -> dict[str, Path]:
    """Where each project is, by name; the generated one is prepared where it is wanted and not there."""
    found = {"beauty": options.beauty, "pictures": options.pictures, "log": options.folder / "log"}
    wanted = {CASES[name].project for name in options.case}
    if "log" in wanted and not (found["log"] / "dataset").exists():
        log, goods = generate(options.folder / "generated", **LOG)
        subprocess.run(medley("prepare", found["log"], "--interactions", log, "--items", goods), check=True)
    return {name: path for name, path in found.items() if path is not None}


def row(name: str, found: Mapping[str, Any]) -> str:
    memory, seconds = found["memory_error"], found["time_error"]
    good = abs(memory) <= MEMORY_BAR and abs(seconds) <= TIME_BAR
    return (
        f"| {name} | {found['memory_predicted'] / 1e6:,.0f} | {found['memory_measured'] / 1e6:,.0f} | {memory:+.0%} | "
        f"{found['seconds_predicted']:.1f} | {found['seconds_measured']:.1f} | {seconds:+.0%} | {found['cores']:.2f} | "
        f"{'yes' if good else 'NO'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for what is generated")
    parser.add_argument("--beauty", type=Path, help="a project with texts; its runs are deleted")
    parser.add_argument("--pictures", type=Path, help="a project with texts, pictures, descriptions; the same")
    parser.add_argument("--case", action="append", choices=list(CASES), help="by default all whose project is there")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds of plan and run")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    given = {"beauty": options.beauty, "pictures": options.pictures, "log": options.folder}
    options.case = options.case or [name for name, case in CASES.items() if given[case.project] is not None]
    places, results = projects(options), {}
    head = "case | MB predicted | measured | error | s an epoch predicted | measured | error | cores had | in the bars"
    print(f"| {head} |\n|{'---|' * len(head.split(' | '))}")
    for name in options.case:
        results[name] = compared(places[CASES[name].project], CASES[name], cpu=options.cpu)
        print(row(name, results[name]), flush=True)
        if options.out:
            storage.write_json(options.out, about() | results)


if __name__ == "__main__":
    main()
