"""The flat log as rows for a model: training windows, histories to be continued, and the order of the steps.

Letters:  B rows   L positions   W windows   E events   T targets per optimiser step
A training window is a run of events of one user: all but the last are inputs, all but the first can be targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medleyrec.dataset.split import TrainingLog
from medleyrec.schema import PAD, Batch, EvalEvents, Int64s

if TYPE_CHECKING:
    import torch

POOL = 16  # steps whose rows are sorted by length together: little padding, and still a random mix


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Rows to train on: inputs are ``[start, start + length)``; the last `fresh` of them have a target."""

    users: Int64s  # (W,)
    starts: Int64s  # (W,) indices into the flat log
    lengths: Int64s  # (W,)
    fresh: Int64s  # (W,)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def targets(self) -> int:
        return int(self.fresh.sum())

    def __repr__(self) -> str:
        return f"Windows({len(self)} rows, {self.targets} targets, {int(self.lengths.sum())} positions)"


def one_pass_windows(log: TrainingLog, *, max_length: int, stride: int) -> Windows:
    """Every training event but a user's first is a target exactly once, in as few rows as the stride allows.

    Windows of a long history end at its last event and every `stride` events before that; each teaches its last
    `stride` positions, the earliest one all of its own (a target past position L sees L - stride + 1 to L events).
    """
    inputs = np.maximum(log.ends - log.starts - 1, 0)
    users = np.flatnonzero(inputs)
    rows = 1 + np.maximum(0, -(-(inputs[users] - max_length) // stride))  # how many windows a user has
    owner = np.repeat(users, rows)
    back = np.arange(len(owner)) - np.repeat(rows.cumsum() - rows, rows)  # 0 is the user's last window
    end = inputs[owner] - back * stride
    length = np.minimum(end, max_length)
    fresh = np.where(end <= max_length, end, stride)
    return Windows(owner, log.starts[owner] + end - length, length, fresh)


def prefix_windows(log: TrainingLog, *, max_length: int) -> Windows:
    """The published regime: one row per target, its input being the last `max_length` events before it."""
    inputs = np.maximum(log.ends - log.starts - 1, 0)
    owner = np.repeat(np.arange(len(log)), inputs)
    end = np.arange(len(owner)) - np.repeat(inputs.cumsum() - inputs, inputs) + 1  # 1, 2, .. inputs
    length = np.minimum(end, max_length)
    return Windows(owner, log.starts[owner] + end - length, length, np.ones_like(end))


def plan_steps(windows: Windows, *, seed: int, epoch: int, targets_per_step: int) -> list[Int64s]:
    """Window numbers of each step of an epoch, a function of its arguments alone.

    Rows are shuffled, sorted by length inside pools of `POOL` steps, cut at `targets_per_step` targets, and the steps
    are shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(windows))
    pool = (windows.fresh[order].cumsum() - 1) // (POOL * targets_per_step)
    order = order[np.lexsort((windows.lengths[order], pool))]
    step = (windows.fresh[order].cumsum() - 1) // targets_per_step
    steps = np.split(order, np.flatnonzero(np.diff(step)) + 1) if len(order) else []
    return [steps[i] for i in rng.permutation(len(steps))]


class DeviceLog:
    """The log as flat tensors on the device, where a batch is one index operation."""

    def __init__(self, log: TrainingLog, windows: Windows, device: torch.device | str = "cpu") -> None:
        import torch

        def tensor(values: np.typing.ArrayLike) -> torch.Tensor:
            return torch.from_numpy(np.array(values)).to(device)

        self.items, self.times = tensor(log.items), tensor(log.times)
        self.users, self.starts = tensor(windows.users), tensor(windows.starts)
        self.lengths, self.fresh = tensor(windows.lengths), tensor(windows.fresh)
        self._host_lengths, self._host_fresh = windows.lengths, windows.fresh
        self.device = device

    def batch(self, rows: Int64s) -> Batch:
        """The windows numbered `rows`, padded to the longest of them."""
        import torch

        width = int(self._host_lengths[rows].max())
        pick = torch.from_numpy(rows).to(self.device, non_blocking=True)
        lengths = self.lengths[pick]
        position = torch.arange(width, device=self.device)
        real = position < lengths[:, None]  # (B, L)
        taught = real & (position >= (lengths - self.fresh[pick])[:, None])
        event = torch.where(real, self.starts[pick][:, None] + position, 0)
        items = torch.where(real, self.items[event], PAD)
        targets = torch.where(taught, self.items[(event + 1).clamp_(max=len(self.items) - 1)], PAD)
        times = torch.where(real, self.times[event], 0)
        num_targets = int(self._host_fresh[rows].sum())
        return Batch(items.long(), times, lengths, targets.long(), self.users[pick], num_targets)


def history_batches(
    items: np.typing.NDArray[np.int32],
    times: Int64s,
    events: EvalEvents,
    *,
    max_length: int,
    rows: int,
    device: torch.device | str = "cpu",
    order: Literal["length", "given"] = "length",
) -> Iterator[tuple[Int64s, Batch]]:
    """Histories before each event, at most `max_length` events long: (row numbers into `events`, Batch).

    Rows of similar length come together, so that there is little padding. An event without history has length 0.
    """
    import torch

    lengths = np.minimum(events.history_ends - events.history_starts, max_length)
    sequence = np.argsort(lengths, kind="stable") if order == "length" else np.arange(len(events))
    for at in range(0, len(sequence), rows):
        pick = sequence[at : at + rows]
        width = max(int(lengths[pick].max()), 1)
        position = np.arange(width)
        real = position < lengths[pick][:, None]  # (B, L)
        event = np.where(real, (events.history_ends - lengths)[pick][:, None] + position, 0)
        block = (np.where(real, items[event], PAD).astype(np.int64), np.where(real, times[event], 0))
        ids, seconds = (torch.from_numpy(x).to(device) for x in block)
        size = torch.from_numpy(lengths[pick].astype(np.int64)).to(device)
        users = torch.from_numpy(events.users[pick]).to(device)
        yield pick, Batch(ids, seconds, size, torch.zeros_like(ids), users)
