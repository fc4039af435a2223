"""How fast a model with text, pictures and categories trains, on a generated log of the size of Amazon Video Games.

24,303 users, 10,672 items, 231,780 events (leave-one-out: 158,871 targets), 768 numbers for text and for picture, 192
categories, 1,024 targets a step. Steps of an epoch are timed in one pass and in prefix mode, beside a float32 product
(1024 x 192) x (192 x 10,672) timed between them: the speed of the machine at that moment. Medians are quoted; seconds
per epoch are targets over targets per second. Peak memory is that of the whole process, one pass before prefix mode.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medleyrec import storage
from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, plan_steps, prefix_windows
from medleyrec.dataset.split import TrainingLog
from medleyrec.models import build
from medleyrec.models.categories import Categories
from medleyrec.schema import Facts, Features
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk

USERS, ITEMS, EVENTS, FEATURES, CATEGORIES, LABELS = 24_303, 10_672, 231_780, 768, 192, 4
TARGETS, LENGTH, WIDTH, DAY = 1024, 50, 192, 86_400
AT = 200  # GFLOP/s


def generated() -> TrainingLog:
    """Power-law popularity, at least five events per user, whole days between events; the last two held out."""
    rng = np.random.default_rng(0)
    lengths = 5 + rng.multinomial(EVENTS - 5 * USERS, rng.dirichlet(np.full(USERS, 0.6)))
    ends = lengths.cumsum()
    weights = (1 + np.arange(ITEMS)) ** -0.6
    items = 1 + rng.choice(ITEMS, EVENTS, p=weights / weights.sum())
    gaps = rng.geometric(0.02, EVENTS) - 1
    times = 1_000_000_000 + DAY * (gaps.cumsum() - np.repeat(gaps.cumsum()[ends - lengths], lengths))
    return TrainingLog(items.astype(np.int32), times, ends - lengths, ends - 2, ITEMS + 1)


def content() -> tuple[Features, Categories]:
    rng = np.random.default_rng(1)
    vectors = {n: rng.normal(size=(ITEMS + 1, FEATURES)).astype(np.float16) for n in ("text", "image")}
    present = dict.fromkeys(vectors, np.arange(ITEMS + 1) > 0)
    labels = rng.integers(CATEGORIES, size=ITEMS * LABELS).astype(np.int32)
    offsets = np.maximum(np.arange(ITEMS + 2) - 1, 0) * LABELS
    return Features(vectors=vectors, present=present), Categories(offsets=offsets, labels=labels, count=CATEGORIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model with all its losses on: `one_pass` and `prefix` are its settings in those modes, `bar` targets/s."""

    name: str
    bar: float
    one_pass: Mapping[str, Any] = field(default_factory=dict)
    prefix: Mapping[str, Any] = field(default_factory=dict)

    def module(self, mode: str, chunk: int, device: str) -> TrainingModule:
        torch.manual_seed(0)
        features, categories = content()
        facts = Facts(num_items=ITEMS + 1, num_categories=CATEGORIES, start_time=1_000_000_000, max_gap=2_000 * DAY)
        settings = self.prefix if mode == "prefix" else self.one_pass
        model = build(self.name, facts, features, categories=categories, items=("id", "text", "image"), **settings)
        return TrainingModule(model, classes=ITEMS + 1, chunk=chunk).to(device).train()


def sgemm(device: str) -> Callable[[], float]:
    """GFLOP/s of the product of the catalogue softmax."""
    a, b = torch.randn(TARGETS, WIDTH, device=device), torch.randn(ITEMS, WIDTH, device=device)
    out = torch.empty(TARGETS, ITEMS, device=device)

    def measure(times: int = 5) -> float:
        found = [seconds(lambda: torch.mm(a, b.T, out=out), device) for _ in range(times)]
        return 2e-9 * TARGETS * WIDTH * ITEMS / statistics.median(found)

    measure()
    return measure


def seconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def timed(subject: Subject, mode: str, log: TrainingLog, options: argparse.Namespace, chunk: int) -> dict[str, float]:
    device = options.device
    windows = _windows(mode, log)
    module, rows = subject.module(mode, chunk, device), DeviceLog(log, windows, device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    plan = plan_steps(windows, seed=0, epoch=0, targets_per_step=TARGETS)
    steps = plan[: options.steps or len(plan)]
    machine = sgemm(device)

    def step(number: np.typing.NDArray[np.int64]) -> None:
        module(rows.batch(number))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for number in plan[:3]:
        step(number)
    found = []
    for _ in range(options.runs):
        spent = seconds(lambda: [step(number) for number in steps], device)
        found.append((sum(int(windows.fresh[n].sum()) for n in steps) / spent, machine()))
        print(f"  {mode}: {found[-1][0]:,.0f} targets/s at {found[-1][1]:.0f} GFLOP/s", flush=True)
    speed, gflops = (statistics.median(column) for column in zip(*found, strict=True))
    scaled = statistics.median(s / g * AT for s, g in found)
    return {
        "rows": len(windows),
        "targets": windows.targets,
        "positions_padded": _padded(windows, plan),
        "targets_per_second": speed,
        "gflops": gflops,
        f"targets_per_second_at_{AT}_gflops": scaled,
        "share_of_bar": scaled / subject.bar,
        "epoch_seconds": windows.targets / speed,
        "peak_memory_gib": _peak(device),
    }


def _windows(mode: str, log: TrainingLog) -> Windows:
    if mode == "prefix":
        return prefix_windows(log, max_length=LENGTH)
    return one_pass_windows(log, max_length=LENGTH, stride=LENGTH // 2)


def _padded(windows: Windows, plan: list[np.typing.NDArray[np.int64]]) -> float:
    """Share of the positions of an epoch that is padding."""
    held = sum(len(rows) * int(windows.lengths[rows].max()) for rows in plan)
    return 1 - int(windows.lengths.sum()) / held


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main(subject: Subject, description: str | None) -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch; 0 is a whole one")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", nargs="+", default=["one-pass", "prefix"], choices=["one-pass", "prefix"])
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    log = generated()
    chunk = calibrate_chunk(targets=TARGETS, width=WIDTH, classes=ITEMS, device=options.device)
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "device": options.device,
        "softmax_chunk": chunk,
        "parameters": sum(p.numel() for p in subject.module("one-pass", chunk, "cpu").parameters()),
        **{mode: timed(subject, mode, log, options, chunk) for mode in options.modes},
    }
    print(json.dumps(result, indent=1))
    if options.out:
        storage.write_json(options.out, result)
