"""Losses as pure functions.

Letters:  T targets   D width   V classes
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from medleyrec.training.blocked import blocked_softmax, chunk_of

LARGE = 200_000
"""With more classes than these a chunk is as large as memory allows: reading the table is what costs."""
LOGITS_BYTES = 256 << 20  # ceiling of one chunk of logits
CHUNKS = (64, 128, 256, 512)
CALIBRATION_SECONDS = 1.0


def sampled_binary(states: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """Summed binary cross entropy of each target (T,) against one class drawn for it, each of `rows` (V, D) alike.

    The drawn class may be the target itself, one time in V.
    """
    drawn = torch.randint(len(rows), targets.shape, device=targets.device)
    wanted, other = ((states * F.embedding(which, rows)).sum(-1) for which in (targets, drawn))
    return (F.softplus(-wanted) + F.softplus(other)).sum()


def calibrate_chunk(*, targets: int, width: int, classes: int, device: torch.device | str) -> int:
    """The fastest of a few chunk sizes for this step on this machine, found within about a second.

    Above `LARGE` classes memory alone decides.
    """
    if classes > LARGE:
        return chunk_of(targets, classes)
    fitting = [c for c in CHUNKS if c * classes * 4 <= LOGITS_BYTES] or [max(1, LOGITS_BYTES // (4 * classes))]
    if len(fitting) == 1:
        return fitting[0]
    generator = torch.Generator(device).manual_seed(0)
    targets = min(targets, max(fitting))
    states = torch.randn(targets, width, generator=generator, device=device, requires_grad=True)
    rows = torch.randn(classes, width, generator=generator, device=device, requires_grad=True)
    labels = torch.randint(classes, (targets,), generator=generator, device=device)

    def step(chunk: int) -> None:
        loss = blocked_softmax(states, rows, labels, classes=range(classes), chunk=chunk)
        loss.backward()  # type: ignore[no-untyped-call]

    def seconds(chunk: int) -> float:
        return _seconds(lambda: step(chunk), device)

    deadline = time.perf_counter() + CALIBRATION_SECONDS
    step(fitting[0])
    best = {c: seconds(c) for c in fitting}
    while time.perf_counter() < deadline:
        best = {c: min(least, seconds(c)) for c, least in best.items()}
    return min(best, key=lambda c: best[c])


def _seconds(work: Callable[[], None], device: torch.device | str) -> float:
    start = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
