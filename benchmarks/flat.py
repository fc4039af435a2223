"""Cost and memory per training event as a log grows: SASRec on generated logs of 1 to 20 million events.

    python -m benchmarks.flat                                                   (the sizes of the claim)
    python -m benchmarks.flat --millions 1 5 --steps 10 --rounds 1 --out flat.json

A log lies in files and is mapped, as a prepared one. Each measurement is a process of its own: it makes the windows,
the log on the device and the steps of an epoch, forms EVERY batch of that epoch (so that the whole log is read), and
trains on a few of its steps. Sizes take turns, round by round; medians are quoted, in seconds of CPU (which bear other
work on the machine) and of the clock. "ns_per_event" is set-up and batches by events plus a training step by targets.

Memory is the largest resident size, mapped pages of the log included, and what is left of it at the end without them;
its growth is the slope of a straight line through the sizes. The log itself takes 12 bytes an event, a window 20 and
its place in the plan 4.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import about
from medleyrec import storage
from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, plan_steps
from medleyrec.dataset.split import TrainingLog

ITEMS, MEAN, LENGTH, WIDTH, TARGETS, WARM = 50_000, 40, 50, 64, 1024, 3
LOG_BYTES = 12  # of an event: its item and its second
FLAT = 0.15
ARRAYS = ("items", "times", "starts", "ends")


def generate(folder: Path, events: int) -> None:
    """Power-law popularity, `MEAN` events per user on average, at least two; found there, it is not made again."""
    if all((folder / f"{name}.npy").exists() for name in ARRAYS):
        return
    rng = np.random.default_rng(0)
    lengths = 2 + rng.geometric(1 / (MEAN - 1), events // MEAN) - 1
    ends = lengths.cumsum()
    total = int(ends[-1])
    storage.save_array(folder / "items.npy", (1 + rng.random(total) ** 2.5 * ITEMS).astype(np.int32))
    storage.save_array(folder / "times.npy", 1_000_000_000 + rng.integers(0, 86_400, total).cumsum())
    storage.save_array(folder / "starts.npy", ends - lengths)
    storage.save_array(folder / "ends.npy", ends)


def measure(folder: Path, steps: int) -> dict[str, float]:
    import torch

    log = TrainingLog(*(storage.open_array(folder / f"{name}.npy") for name in ARRAYS), ITEMS + 1)
    step = training_step()
    base = peak_mib()
    clock = Clock()
    windows = one_pass_windows(log, max_length=LENGTH, stride=LENGTH // 2)
    rows = DeviceLog(log, windows)
    plan = plan_steps(windows, seed=0, epoch=0, targets_per_step=TARGETS)
    set_up = clock.lap()
    taught = sum(rows.batch(number).num_targets for number in plan)
    batches = clock.lap()
    assert taught == windows.targets
    trained = trained_seconds(step, rows, windows, plan[: WARM + steps])
    return {
        "events": len(log.items),
        "windows": len(windows),
        "targets": windows.targets,
        **{f"set_up_{k}_ns_per_event": 1e9 * v / len(log.items) for k, v in set_up.items()},
        **{f"batches_{k}_ns_per_event": 1e9 * v / len(log.items) for k, v in batches.items()},
        **{f"step_{k}_ns_per_target": 1e9 * v for k, v in trained.items()},
        "base_mib": base,
        "peak_mib": peak_mib(),
        "anonymous_mib": memory_mib("RssAnon"),
        "threads": torch.get_num_threads(),
    }


class Clock:
    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def lap(self) -> dict[str, float]:
        """Seconds since the last call, of all cores and of the clock."""
        before = self.cpu, self.wall
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return {"cpu": self.cpu - before[0], "wall": self.wall - before[1]}


def training_step() -> Callable[[Any], None]:
    import torch

    from medleyrec.models import build
    from medleyrec.schema import Facts
    from medleyrec.training.module import TrainingModule

    torch.manual_seed(0)
    model = build("sasrec", Facts(num_items=ITEMS + 1), width=WIDTH, max_length=LENGTH, depth=2, heads=2, dropout=0.5)
    module = TrainingModule(model, classes=ITEMS + 1, chunk=256).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def step(batch: Any) -> None:
        module(batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def trained_seconds(step: Callable[[Any], None], rows: DeviceLog, windows: Windows, plan: Any) -> dict[str, float]:
    """Seconds per target: the median over the steps, the first few left out."""
    clock, found = Clock(), []
    for number in plan:
        clock.lap()
        step(rows.batch(number))
        found.append((clock.lap(), int(windows.fresh[number].sum())))
    return {k: statistics.median(spent[k] / targets for spent, targets in found[WARM:]) for k in ("cpu", "wall")}


def peak_mib() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024 if sys.platform == "linux" else 2**20)


def memory_mib(name: str) -> float:
    """A line of /proc/self/status, 0 where there is no such file."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def verdict(sizes: list[dict[str, float]]) -> dict[str, Any]:
    """Cost per event against the smallest log, and bytes of memory per event beyond the log's own."""
    for row in sizes:
        row["ns_per_event"] = sum(
            row[f"{part}_cpu_ns_per_{unit}"]
            for part, unit in (("set_up", "event"), ("batches", "event"), ("step", "target"))
        )
    first = sizes[0]["ns_per_event"]
    spread = {f"{row['events']:.0f}": row["ns_per_event"] / first for row in sizes}
    found: dict[str, Any] = {"cost_against_smallest": spread}
    found["flat"] = all(abs(ratio - 1) <= FLAT for ratio in spread.values())
    if len(sizes) > 1:
        events = [row["events"] for row in sizes]
        slope = statistics.linear_regression(events, [row["peak_mib"] for row in sizes]).slope * 2**20
        windows = statistics.linear_regression(events, [row["windows"] for row in sizes]).slope
        anonymous = statistics.linear_regression(events, [row["anonymous_mib"] for row in sizes]).slope * 2**20
        found |= {
            "bytes_per_event": slope,
            "windows_per_event": windows,
            "bytes_per_event_beyond_the_log": slope - LOG_BYTES,
            "anonymous_bytes_per_event": anonymous,
        }
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 2, 5, 10, 20], help="events of each log")
    parser.add_argument("--steps", type=int, default=20, help="training steps that are timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the logs lie; by default a temporary folder")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    if options.one:
        print(json.dumps(measure(options.one, options.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = compared(options, options.folder or Path(folder))
    print(json.dumps(result, indent=1))
    if options.out:
        storage.write_json(options.out, result)


def compared(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows: dict[float, list[dict[str, float]]] = {size: [] for size in options.millions}
    for _ in range(options.rounds):
        for size in options.millions:
            generate(folder / f"{size:g}", int(size * 1e6))
            command = [sys.executable, "-m", "benchmarks.flat", "--one", str(folder / f"{size:g}")]
            command += ["--steps", str(options.steps)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[size].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {size:g} million: {json.dumps(rows[size][-1])}", flush=True)
    sizes = [medians(found) for found in rows.values()]
    return {**verdict(sizes), "sizes": sizes, **about()}


if __name__ == "__main__":
    main()
