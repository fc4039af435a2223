"""What a training step costs as the catalogue grows: the exact softmax, and the one over drawn classes.

    python -m benchmarks.catalogue --out FILE.json
    python -m benchmarks.catalogue --exact 1_000_000 --sampled --content --out FILE.json  (other sizes stay in it)

    exact     loss and both gradients of the softmax over all classes, from states to table, beside its three matrix
              products at the same shape of chunks and blocks, timed alternately; memory above the item table, which
              includes the gradient of the table
    sampled   a whole step of SASRec (the automatic number of drawn classes, row-wise ids): seconds and peak memory
    content   the same with text vectors that stay on disk
Every size has a process of its own, so that its peak memory is its own. Data are generated: power-law popularity.
"""

from __future__ import annotations

import argparse
import json
import re
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
import torch
from torch import Tensor

from benchmarks.machine import about
from medleyrec import storage
from medleyrec.dataset.batches import DeviceLog, one_pass_windows, plan_steps
from medleyrec.dataset.split import TrainingLog
from medleyrec.models import build
from medleyrec.schema import TEXT, Facts, Features
from medleyrec.training.blocked import block_of, blocked_softmax
from medleyrec.training.config import TrainConfig
from medleyrec.training.memory import returned
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk
from medleyrec.training.optimizer import optimizer_of
from medleyrec.training.sampling import Sampler, class_counts
from medleyrec.training.softmax import softmax_of

KINDS = ("exact", "sampled", "content")
EXACT, SAMPLED, CONTENT = (10_000, 100_000, 1_000_000), (10_000, 100_000, 1_000_000, 10_000_000), (1_000_000,)
USERS, LENGTH = 40_000, 50
GIB, STATUS = 2**30, Path("/proc/self/status")


def peak() -> int:
    """Bytes of memory that this process has used at most since `forget_peak`, or since its start."""
    if STATUS.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", STATUS.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> int:
    """Bytes in use; from now on `peak` is counted anew where the system can do that (Linux)."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def products(states: Tensor, table: Tensor, chunk: int, block: int) -> Callable[[], None]:
    """The three matrix products of the softmax, in the chunks and blocks that it takes."""
    gradient, room, part = torch.zeros_like(table), table.new_empty(chunk * block), torch.empty_like(states[:chunk])

    def work() -> None:
        for at in range(0, len(states), chunk):
            some = states[at : at + chunk]
            for first in range(0, len(table), block):
                rows = table[first : first + block]
                logits = room[: len(some) * len(rows)].view(len(some), len(rows))
                torch.mm(some, rows.T, out=logits)
                torch.mm(logits, rows, out=part[: len(some)])
                gradient[first : first + block].addmm_(logits.T, some)

    return work


def exact(classes: int, *, width: int, targets: int, runs: int) -> dict[str, Any]:
    table = torch.randn(classes + 1, width).mul_(width**-0.5).requires_grad_()
    states, wanted = torch.randn(targets, width, requires_grad=True), torch.randint(classes, (targets,))
    chunk = calibrate_chunk(targets=targets, width=width, classes=classes, device="cpu")

    def step() -> None:
        table.grad = states.grad = None
        loss = blocked_softmax(states, table, wanted, classes=range(1, classes + 1), chunk=chunk)
        loss.backward()  # type: ignore[no-untyped-call]

    returned()  # what the calibration freed would hide some of the step's memory
    before = forget_peak()
    times = [seconds(step)]
    above = peak() - before
    table.grad = None
    bare = products(states.detach(), table.detach()[1:], chunk, block_of(classes))
    pairs = [(seconds(bare), seconds(step)) for _ in range(runs)]
    ratios = [own / other for other, own in pairs]
    times = [own for _, own in pairs] or times
    return {
        "classes": classes,
        "width": width,
        "targets": targets,
        "chunk": chunk,
        "block": block_of(classes),
        "seconds": statistics.median(times),
        "products_seconds": statistics.median([p for p, _ in pairs]) if pairs else None,
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_min": min(ratios, default=None),
        "ratio_max": max(ratios, default=None),
        "gib_above_table": above / GIB,
    }


def generated(classes: int) -> TrainingLog:
    rng = np.random.default_rng(0)
    items = 1 + (rng.random(USERS * LENGTH) ** 3 * classes).astype(np.int32)
    starts = np.arange(USERS) * LENGTH
    return TrainingLog(items, np.zeros(len(items), np.int64), starts, starts + LENGTH, classes + 1)


def vectors(folder: Path, classes: int, width: int) -> Features:
    """Text vectors of so many items in a file, memory-mapped."""
    rng, path = np.random.default_rng(0), folder / "vectors.npy"
    made = np.lib.format.open_memmap(path, "w+", np.float16, (classes + 1, width))
    for at in range(1, classes + 1, 1 << 16):
        made[at : at + (1 << 16)] = rng.standard_normal((min(1 << 16, classes + 1 - at), width), np.float32)
    made.flush()
    del made
    return Features(vectors={TEXT: storage.open_array(path)}, present={TEXT: np.arange(classes + 1) > 0})


def sampled(classes: int, *, width: int, targets: int, runs: int, features: Features | None = None) -> dict[str, Any]:
    config = TrainConfig(softmax="sampled", targets_per_step=targets)
    log, choice = generated(classes), softmax_of(config, classes)
    windows = one_pass_windows(log, max_length=LENGTH, stride=LENGTH // 2)
    parts = ("id",) if features is None else ("id", TEXT)
    began = time.perf_counter()
    model = build("sasrec", Facts(num_items=classes + 1), features, items=parts, width=width, max_length=LENGTH)
    built = time.perf_counter() - began
    sampler = Sampler(class_counts(log, classes + 1), choice.negatives)
    module = TrainingModule(model, classes=classes + 1, chunk=targets, sampler=sampler).train()
    optimizer, device_log = optimizer_of(module, config), DeviceLog(log, windows)

    def step(rows: Any) -> None:
        module(device_log.batch(rows))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    plan = plan_steps(windows, seed=0, epoch=0, targets_per_step=targets)
    for rows in plan[:3]:
        step(rows)
    used = time.process_time()
    times = [seconds(lambda rows=rows: step(rows)) for rows in plan[3 : 3 + 4 * runs]]  # type: ignore[misc]
    used = time.process_time() - used
    return {
        "classes": classes,
        "width": width,
        "targets": targets,
        "negatives": choice.negatives,
        "content": 0 if features is None else features.widths[TEXT],
        "seconds": statistics.median(times),
        "seconds_min": min(times),
        "seconds_max": max(times),
        "processor_seconds": used / len(times),
        "seconds_to_build": built,
        "gib": peak() / GIB,
        "gib_of_ids": 4 * (classes + 1) * width / GIB,
    }


def content(classes: int, *, width: int, targets: int, runs: int, feature: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        features = vectors(Path(folder), classes, feature)
        forget_peak()
        return sampled(classes, width=width, targets=targets, runs=runs, features=features)


def one(kind: str, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Of one size, in this process."""
    if kind == "exact":
        return exact(classes, width=options.width, targets=options.targets, runs=options.runs)
    shape = {"width": options.sampled_width, "targets": options.sampled_targets, "runs": options.runs}
    return content(classes, **shape, feature=options.feature) if kind == "content" else sampled(classes, **shape)


def apart(kind: str, classes: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.catalogue", *sys.argv[1:], "--one", kind, str(classes)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(found.splitlines()[-1])
    print(f"{kind:8} {json.dumps(result)}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, sizes in (("exact", EXACT), ("sampled", SAMPLED), ("content", CONTENT)):
        parser.add_argument(f"--{kind}", type=int, nargs="*", default=sizes, help="numbers of classes; none: left out")
    parser.add_argument("--width", type=int, default=128, help="of the exact softmax")
    parser.add_argument("--targets", type=int, default=8192, help="of a step of the exact softmax")
    parser.add_argument("--sampled-width", type=int, default=64)
    parser.add_argument("--sampled-targets", type=int, default=1024)
    parser.add_argument("--feature", type=int, default=384, help="width of the text vectors on disk")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "CLASSES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options)))
        return
    where = {**about(), "threads": torch.get_num_threads()}
    result = {kind: [apart(kind, classes) for classes in getattr(options, kind)] for kind in KINDS}
    if options.out:
        storage.write_json(options.out, {**where, **joined(options.out, where, result)})


def joined(path: Path, where: dict[str, Any], found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """With the sizes of an earlier run in the same circumstances, where they were not measured anew."""
    before = storage.read_json(path) if path.exists() else {}
    if any(before.get(name) != value for name, value in where.items()):
        return found
    sizes = {kind: {row["classes"]: row for row in [*before.get(kind, []), *rows]} for kind, rows in found.items()}
    return {kind: [rows[size] for size in sorted(rows)] for kind, rows in sizes.items()}


if __name__ == "__main__":
    main()
