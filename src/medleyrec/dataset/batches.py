"""The flat log as rows for a model: training windows, histories to be continued, and the order of the steps.

Letters:  B rows   L positions   W windows   E events   T targets per optimiser step
A training window is a run of events of one user: all but the last are inputs, all but the first can be targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from medleyrec.dataset.split import TrainingLog
from medleyrec.schema import PAD, Batch, EvalEvents, Int32s, Int64s

if TYPE_CHECKING:
    import torch

POOL = 16  # steps whose rows are sorted by length together: little padding, and still a random mix
BLOCK = 1 << 20  # windows that are looked at together where only a running sum is wanted


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Rows to train on: inputs are ``[start, start + length)``; the last `fresh` of them have a target."""

    users: Int32s  # (W,)
    starts: Int64s  # (W,) indices into the flat log
    lengths: Int32s  # (W,)
    fresh: Int32s  # (W,)

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
    inputs = _inputs(log)
    users = np.flatnonzero(inputs).astype(np.int32)
    rows = 1 + np.maximum(0, -(-(inputs[users] - max_length) // stride))  # how many windows a user has
    owner = np.repeat(users, rows)
    back = _turns(rows)  # 0 is the user's last window
    end = inputs[owner] - back * np.int32(stride)
    return _windows(log, owner, end, max_length, np.where(end <= max_length, end, np.int32(stride)))


def prefix_windows(log: TrainingLog, *, max_length: int) -> Windows:
    """The published regime: one row per target, its input being the last `max_length` events before it."""
    inputs = _inputs(log)
    owner = np.repeat(np.arange(len(log), dtype=np.int32), inputs)
    return _windows(log, owner, _turns(inputs) + np.int32(1), max_length, np.ones(len(owner), np.int32))


def _inputs(log: TrainingLog) -> Int32s:
    """(U,) events of each user that another one follows."""
    inputs: Int32s = np.maximum(log.ends - log.starts - 1, 0).astype(np.int32)
    return inputs


def _turns(counts: Int32s) -> Int32s:
    """0, 1, .. n-1 for each n of `counts`, one after the other."""
    before = counts.cumsum() - counts
    turns: Int32s = (np.arange(int(counts.sum())) - np.repeat(before, counts)).astype(np.int32)
    return turns


def _windows(log: TrainingLog, owner: Int32s, end: Int32s, max_length: int, fresh: Int32s) -> Windows:
    """Of the users `owner`: windows that end before their input number `end`."""
    length = np.minimum(end, np.int32(max_length))
    return Windows(owner, log.starts[owner] + (end - length), length, fresh)


class Steps(Sequence[Int64s]):
    """Window numbers of each step of an epoch: runs of one array, made when they are asked for."""

    def __init__(self, order: Int32s, edges: Int64s, turns: Int64s) -> None:
        """Step n holds ``order[edges[t]:edges[t + 1]]``, t being ``turns[n]``."""
        self._order, self._edges, self._turns = order, edges, turns

    def __len__(self) -> int:
        return len(self._turns)

    @overload
    def __getitem__(self, index: int) -> Int64s: ...

    @overload
    def __getitem__(self, index: slice) -> Steps: ...

    def __getitem__(self, index: int | slice) -> Int64s | Steps:
        if isinstance(index, slice):
            return Steps(self._order, self._edges, self._turns[index])
        turn = self._turns[index]
        return self._order[self._edges[turn] : self._edges[turn + 1]].astype(np.int64)

    def __repr__(self) -> str:
        return f"Steps({len(self)} of {len(self._edges) - 1}, {len(self._order)} windows)"


def plan_steps(windows: Windows, *, seed: int, epoch: int, targets_per_step: int) -> Steps:
    """The steps of an epoch, a function of the arguments alone.

    Rows are shuffled, sorted by length inside pools of `POOL` steps, cut at `targets_per_step` targets, and the steps
    are shuffled again. Four bytes a window: a log of any length is planned pool by pool.
    """
    rng = np.random.default_rng([seed, epoch])
    order: Int32s = np.arange(len(windows), dtype=np.int32)
    rng.shuffle(order)
    pools = _cuts(order, windows.fresh, POOL * targets_per_step)
    for start, end in zip(pools[:-1].tolist(), pools[1:].tolist(), strict=True):
        pool = order[start:end]
        pool[:] = pool[np.argsort(windows.lengths[pool], kind="stable")]
    edges = _cuts(order, windows.fresh, targets_per_step)
    return Steps(order, edges, rng.permutation(len(edges) - 1))


def _cuts(order: Int32s, fresh: Int32s, size: int) -> Int64s:
    """Where runs of `order` start and end: a run ends where the targets so far pass the next multiple of `size`."""
    starts, taught, run = [np.zeros(0, np.int64)], 0, -1
    for at in range(0, len(order), BLOCK):
        so_far = taught + fresh[order[at : at + BLOCK]].cumsum(dtype=np.int64)
        runs = (so_far - 1) // size
        starts.append(at + np.flatnonzero(np.diff(runs, prepend=run)))
        taught, run = int(so_far[-1]), int(runs[-1])
    return np.concatenate([*starts, [len(order)]])


class DeviceLog:
    """The log as flat tensors on the device, where a batch is one index operation.

    On the CPU these are the arrays themselves, memory maps included: the log is nowhere twice.
    """

    def __init__(self, log: TrainingLog, windows: Windows, device: torch.device | str = "cpu") -> None:
        self.items, self.times = _shared(log.items, device), _shared(log.times, device)
        self.users, self.starts = _shared(windows.users, device), _shared(windows.starts, device)
        self.lengths, self.fresh = _shared(windows.lengths, device), _shared(windows.fresh, device)
        self._host_lengths, self._host_fresh = windows.lengths, windows.fresh
        self.device = device

    def batch(self, rows: Int64s) -> Batch:
        """The windows numbered `rows`, padded to the longest of them."""
        import torch

        width = int(self._host_lengths[rows].max())
        pick = torch.from_numpy(rows).to(self.device, non_blocking=True)
        lengths = self.lengths[pick].long()
        position = torch.arange(width, device=self.device)
        real = position < lengths[:, None]  # (B, L)
        taught = real & (position >= (lengths - self.fresh[pick])[:, None])
        event = torch.where(real, self.starts[pick][:, None] + position, 0)
        items = torch.where(real, self.items[event], PAD)
        targets = torch.where(taught, self.items[(event + 1).clamp_(max=len(self.items) - 1)], PAD)
        times = torch.where(real, self.times[event], 0)
        num_targets = int(self._host_fresh[rows].sum())
        return Batch(items.long(), times, lengths, targets.long(), self.users[pick].long(), num_targets)


def _shared(values: np.typing.NDArray[Any], device: torch.device | str) -> torch.Tensor:
    """A tensor on the array's own memory where the device is the CPU; it is never written to."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(values)).to(device)


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
