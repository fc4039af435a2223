"""SASRec of Medley beside that of RecTools, RePlay and RecBole: epoch time, memory, validation NDCG@10.

    python -m benchmarks.peers WORK --install                  (each library's own environment, in WORK/env; once)
    python -m benchmarks.peers WORK --beauty RAW               (all tables; an interrupted table goes on)
    python -m benchmarks.peers WORK --tables beauty --contestants medley rectools --rounds 5 --threads 2

The same log, width 64, 2 layers, 2 heads, 50 positions, dropout, full softmax, Adam at .001, targets per step and
threads for all. A round starts every contestant in turn as a process of its own; round n has seed n. Rows are kept as
one JSON each in --out; where a row is there already it is not made again. What a library does otherwise is a sentence
in its row. WORK holds environments, logs and scratch files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import load, machine
from benchmarks.peer_logs import log_of
from medleyrec import storage
from medleyrec.evaluation.metrics import hit_rate, ndcg

ROOT = Path(__file__).parents[1]
OUT = ROOT / "results" / "benchmarks" / "peers"
PEERS = ("rectools", "replay", "recbole")
FIRST = "medley"
"""Whom the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """inner: width of its feed-forward layers."""

    runner: str
    inner: int = 256
    options: dict[str, Any] = field(default_factory=dict)


CONTESTANTS = {
    FIRST: Contestant(runner="medley"),
    "rectools": Contestant(runner="rectools", inner=64, options={"layers": "sasrec"}),
    "rectools-preln": Contestant(runner="rectools", options={"layers": "preln"}),
    "replay": Contestant(runner="replay", options={"trim": False}),
    "replay-trim": Contestant(runner="replay", options={"trim": True}),
    "recbole": Contestant(runner="recbole"),
}
FORMS = (FIRST, "rectools", "replay-trim", "recbole")
"""Each library in its fastest form."""
PAIR = (FIRST, "replay-trim")
"""With the fastest peer alone: whole epochs of the others take hours."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """limit: seconds of training after which a row is left; its epochs, up to `epochs`, are judged if they are whole.
    dropout: that of SASRec's paper, .5 for sparse logs and .2 for MovieLens.
    speed, memory: how many times the seconds and the memory of Medley the fastest peer should need."""

    log: str
    epochs: int
    rounds: int = 5
    limit: float = 0.0
    targets_per_step: int = 1024
    dropout: float = 0.5
    contestants: tuple[str, ...] = tuple(CONTESTANTS)
    speed: float = 0.0
    memory: float = 0.0


MOVIES = Table(log="ml20m", epochs=1, limit=30.0, dropout=0.2, contestants=FORMS, speed=1.5, memory=4.0)
TABLES = {
    "beauty": Table(log="beauty", epochs=5, limit=30.0, contestants=FORMS, speed=4.0),
    "beauty-curve": Table(log="beauty", epochs=5, rounds=1, contestants=PAIR),
    "ml20m": MOVIES,
    "ml20m-curve": Table(log="ml20m", epochs=1, rounds=1, dropout=0.2, contestants=PAIR),
    "ml20m-long": replace(MOVIES, log="ml20m-long"),
    "ml20m-long-curve": Table(log="ml20m-long", epochs=1, rounds=1, dropout=0.2, contestants=PAIR),
    "small": Table(log="small", epochs=10, rounds=1, targets_per_step=256),
    "tiny": Table(log="tiny", epochs=2, rounds=1, targets_per_step=128),
}
CHECKS = ("small", "tiny")
"""Tables that only show whether the runners work and learn."""


def main() -> None:
    options = parsed()
    if options.install is not None:
        for name in options.install or PEERS:
            install(name, options.work, options.torch_index)
        return
    for name in options.tables:
        run_table(name, chosen(TABLES[name], options), options)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for environments, logs and scratch files")
    parser.add_argument("--install", nargs="*", choices=PEERS, metavar="PEER", help="make the environments (of these)")
    parser.add_argument("--torch-index", default="", help="where to take torch from, such as a CPU-only index")
    parser.add_argument("--beauty", type=Path, help="the raw files of Amazon Beauty 2014, 5-core")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[t for t in TABLES if t not in CHECKS])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="by default those of the table")
    parser.add_argument("--rounds", type=int, help="by default that of the table, as the next three")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--limit", type=float, help="seconds of training of a row; 0 is whole epochs")
    parser.add_argument("--targets-per-step", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=OUT, help="a folder, one JSON per row")
    return parser.parse_args()


def chosen(table: Table, options: argparse.Namespace) -> Table:
    """The table with what the command line says otherwise."""
    said = {n: getattr(options, n) for n in ("contestants", "rounds", "epochs", "limit", "targets_per_step")}
    return replace(table, **{n: tuple(v) if n == "contestants" else v for n, v in said.items() if v is not None})


def install(name: str, work: Path, torch_index: str) -> None:
    """torch first: a library that asks for it then takes what is there. What is installed with these pins stays."""
    folder, file = work / "env" / name, Path(__file__).parent / "peer" / f"{name}.txt"
    pins, stamp = file.read_text(), folder / "pins.txt"
    if not (stamp.exists() and stamp.read_text() == pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet"]
        torch = next(line for line in pins.splitlines() if line.startswith("torch=="))
        subprocess.run([*pip, torch, *(["--index-url", torch_index] if torch_index else [])], check=True)
        subprocess.run([*pip, "-r", str(file)], check=True)
        stamp.write_text(pins)
    print(f"{name}: {folder}", flush=True)


def run_table(name: str, table: Table, options: argparse.Namespace) -> None:
    log = log_of(table.log, options.work, options.beauty)
    for number in range(table.rounds):
        for contestant in table.contestants:
            settings = settings_of(table, CONTESTANTS[contestant], options.threads)
            path = options.out / f"{name}-{contestant}-{number}.json"
            if finished(path, settings):
                continue
            row = {"table": name, "contestant": contestant, "round": number, "settings": settings}
            row |= {"machine": machine(), "load": load()}
            row |= run(contestant, log, settings, number, options.work)
            storage.write_json(path, row)
            print(f"{path.name}: {told(row)}", flush=True)


def settings_of(table: Table, contestant: Contestant, threads: int) -> dict[str, Any]:
    """Everything that changes a row's figures, its round and its machine aside."""
    return {
        "log": table.log,
        "epochs": table.epochs,
        "limit": table.limit,
        "targets_per_step": table.targets_per_step,
        "dropout": table.dropout,
        "threads": threads,
        "inner": contestant.inner,
        "options": contestant.options,
    }


def finished(path: Path, settings: dict[str, Any]) -> bool:
    """Whether the row is there; one that failed is made again."""
    if not path.exists():
        return False
    row = storage.read_json(path)
    if "failed" in row:
        return False
    if row["settings"] != settings:
        sys.exit(f"{path} was made with {row['settings']}, now asked for {settings}; delete it or choose another --out")
    return True


def run(contestant: str, log: Path, settings: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
    """What the runner answers, or why it did not."""
    scratch = work / "scratch" / contestant
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    task, answer = scratch / "task.json", scratch / "answer.json"
    given = {name: value for name, value in settings.items() if name != "log"}
    given |= {name: str(path.absolute()) for name, path in (("log", log), ("answer", answer), ("scratch", scratch))}
    task.write_text(json.dumps({**given, "seed": seed, "begun": time.time()}))
    runner = f"benchmarks.peer.{CONTESTANTS[contestant].runner}"
    command = [str(python_of(contestant, work)), "-m", runner, str(task.absolute())]
    done = subprocess.run(command, cwd=scratch, env=environment(settings["threads"]), check=False)
    if done.returncode:
        return {"failed": f"ended with status {done.returncode}"}
    ranks = np.load(answer.with_suffix(".npz"), allow_pickle=False)["ranks"]
    return {**storage.read_json(answer), "metrics": [judged(epoch) for epoch in ranks]}


def python_of(contestant: str, work: Path) -> Path:
    runner = CONTESTANTS[contestant].runner
    if runner == FIRST:
        return Path(sys.executable)
    found = work / "env" / runner / "bin" / "python"
    if not found.exists():
        sys.exit(f"{runner} is not installed: python -m benchmarks.peers {work} --install {runner}")
    return found.absolute()


def environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_IO_THREADS")
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    return {**os.environ, **dict.fromkeys(names, str(threads)), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}


def judged(ranks: np.ndarray) -> dict[str, float]:
    """Of (2, J): items with a higher score than the target's, and other items with the same."""
    rank = 1.0 + ranks[0] + ranks[1] / 2.0  # a tie counts half of its span
    return {
        "ndcg@10": float(ndcg(rank, 10).mean()),
        "hit_rate@10": float(hit_rate(rank, 10).mean()),
        "judged": len(rank),
    }


def told(row: dict[str, Any]) -> str:
    if "failed" in row:
        return str(row["failed"])
    seconds = [e["seconds"] * row["targets_per_epoch"] / max(1, e["targets"]) for e in row["epochs"]]
    metric = f", NDCG@10 {row['metrics'][-1]['ndcg@10']:.4f}" if row["metrics"] else ""
    return f"{', '.join(f'{s:.1f}' for s in seconds)} s an epoch, {row['peak_mib']:,.0f} MiB{metric}"


if __name__ == "__main__":
    main()
