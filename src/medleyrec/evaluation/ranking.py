"""From scores to two integers per event: candidates strictly better than the target, candidates tied with it.

Letters:  E events   B rows of a batch   C candidates   k recommended items

In goes a Ranker and batches of histories, out come `Ranks` or the first k items (first.py). Every metric is a function
of `Ranks`, never of scores. The target's score is read from the same product as the others, so equal scores are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medleyrec.evaluation.first import first_items
from medleyrec.evaluation.negatives import Negatives
from medleyrec.evaluation.scoring import Chosen, Hidden, Names, NotFiniteError, Scores, Seen, column_of, told
from medleyrec.schema import PAD, Batch, EvalEvents, Floats, InputError, Int32s, Int64s

if TYPE_CHECKING:
    from medleyrec.models.base import Ranker

__all__ = ["NotFiniteError", "Ranks", "rank_events", "seen_items", "top_items"]

_STRIP = 1 << 16  # columns compared at once: what is read twice stays in the cache, and float32 counts so many exactly

Float32s = NDArray[np.float32]
Batches = Iterable[tuple[Int64s, Batch]]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Where the target stands among the candidates, per event."""

    better: Int32s  # (E,) candidates with a strictly higher score
    tied: Int32s  # (E,) other candidates with exactly the target's score

    def __post_init__(self) -> None:
        if self.better.shape != self.tied.shape or self.better.ndim != 1:
            raise ValueError(f"unequal columns: {self.better.shape=}, {self.tied.shape=}")

    @property
    def rank(self) -> Floats:
        """(E,) from 1; a tie counts half of its span, so halves occur."""
        return 1.0 + self.better + self.tied / 2.0

    def take(self, rows: Int64s) -> Ranks:
        return Ranks(self.better[rows], self.tied[rows])

    def __len__(self) -> int:
        return len(self.better)

    def __repr__(self) -> str:
        middle = f"median rank {np.median(self.rank):g}" if len(self) else "empty"
        return f"Ranks({len(self)} events, {middle}, {np.count_nonzero(self.tied)} tied)"


def rank_events(
    ranker: Ranker,
    batches: Batches,
    events: EvalEvents,
    candidates: Tensor,
    *,
    user_names: Names | None = None,
    seen: Seen | None = None,
    negatives: Negatives | None = None,
    progress: Progress | None = None,
) -> Ranks:
    """Rank every event's target among `candidates` (C,), given batches that together hold each event once.

    seen[e]: item rows that event e leaves out of the ranking; its target stays in whatever `seen` says.
    negatives: of these events; each target is then ranked among its own negatives alone, whatever `seen` says.
    progress: called with the number of events just ranked.
    Raises NotFiniteError naming user and model, InputError where a target is not among the candidates.
    """
    columns = column_of(candidates, int(events.targets.max(initial=PAD)))
    targets = columns[events.targets]  # (E,) columns
    _check_targets(events, targets, user_names)
    better, tied = np.full((2, len(events)), -1, np.int32)
    with torch.inference_mode():
        scores = Scores(ranker, candidates, user_names=user_names)
        for rows, batch in batches:
            counted: Hidden | Chosen | None = None
            if negatives is not None:
                counted = Chosen(columns[negatives[rows]], targets[rows])
            elif seen is not None:
                counted = Hidden(seen, rows, columns, keep=targets[rows])
            better[rows], tied[rows] = _count(scores, batch, targets[rows], counted).cpu().numpy()
            if progress is not None:
                progress(len(rows))
    if (better < 0).any():
        raise ValueError(f"{np.count_nonzero(better < 0)} of {len(events)} events were in no batch")
    return Ranks(better, tied)


def top_items(
    ranker: Ranker,
    batches: Batches,
    candidates: Tensor,
    k: int,
    *,
    user_names: Names | None = None,
    seen: Seen | None = None,
    progress: Progress | None = None,
) -> tuple[Int32s, Float32s]:
    """Item rows (E, k) int32, best first, and their scores (E, k) float32, by the row numbers of the batches; k is at
    most the number of candidates.

    Equal scores stand in the order of `candidates`, on every device. Where fewer than k candidates are left,
    the rest of the row is PAD with score -inf.
    """
    if k < 1:
        raise InputError(f"{k} items were asked for; ask for at least 1")
    k = min(k, len(candidates))
    columns = column_of(candidates)
    parts: list[tuple[Int64s, Int32s, Float32s]] = []
    with torch.inference_mode():
        scores = Scores(ranker, candidates, user_names=user_names)
        for rows, batch in batches:
            hidden = None if seen is None else Hidden(seen, rows, columns, keep=None)
            parts.append((rows, *first_items(scores, batch, k, hidden)))
            if progress is not None:
                progress(len(rows))
    return _assembled(parts, k)


def seen_items(items: Int32s, events: EvalEvents) -> list[Int32s]:
    """What each event's user had before it: views into the flat log `items`, for the `seen` of the functions above."""
    plain = np.asarray(items)  # a memory map is slow to slice
    ends = zip(events.history_starts.tolist(), events.history_ends.tolist(), strict=True)
    return [plain[start:end] for start, end in ends]


def _check_targets(events: EvalEvents, columns: Int64s, user_names: Names | None) -> None:
    absent = np.flatnonzero(columns < 0)
    if len(absent):
        user = told(int(events.users[absent[0]]), user_names)
        raise InputError(
            f"the target of {len(absent)} of {len(events)} events is not among the candidates, first item row "
            f"{events.targets[absent[0]]} of user {user}; take a wider candidate set or leave these events out"
        )


def _count(scores: Scores, batch: Batch, columns: Int64s, counted: Hidden | Chosen | None) -> Tensor:
    """(2, B) int32: better than and tied with the score in each row's target column (B,)."""
    device = scores.candidates.device
    wanted = torch.from_numpy(columns).to(device)[:, None]  # (B, 1)
    counts = torch.zeros(2, len(columns), dtype=torch.int32, device=device)
    room = torch.empty(0, device=device)
    for block in scores.rows(batch):
        target = block.values.gather(1, wanted[block.start : block.end])  # (b, 1)
        values = block.values if counted is None else counted.applied(block)
        for part in torch.split(values, _STRIP, 1):
            if len(room) < part.numel():
                room = torch.empty(part.numel(), device=device)
            # Comparisons are written as 0.0 and 1.0: floats are summed several times as fast as booleans are counted.
            flags = room[: part.numel()].view(part.shape)
            counts[0, block.start : block.end] += torch.gt(part, target, out=flags).sum(1).int()
            counts[1, block.start : block.end] += torch.eq(part, target, out=flags).sum(1).int()
    counts[1] -= 1  # the target itself
    return counts


def _assembled(parts: list[tuple[Int64s, Int32s, Float32s]], k: int) -> tuple[Int32s, Float32s]:
    rows = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    if not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise ValueError(f"the batches do not hold each of the rows 0..{len(rows) - 1} once")
    ids, values = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    for numbers, best, scores in parts:
        ids[numbers], values[numbers] = best, scores
    return ids, values
