"""From scores to two integers per event: candidates strictly better than the target, candidates tied with it.

Letters:  E events   B rows of a batch   C candidates   k recommended items

In goes a Ranker and batches of histories, out come `Ranks` or the first k items. Every metric is a function of `Ranks`,
never of scores. The target's score is read from the same (B, C) block as the others, so equal scores compare equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medleyrec.evaluation.negatives import Negatives
from medleyrec.evaluation.scoring import Chosen, Hidden, Names, NotFiniteError, Scores, Seen, column_of, told
from medleyrec.schema import PAD, Batch, EvalEvents, Floats, InputError, Int32s, Int64s

if TYPE_CHECKING:
    from medleyrec.models.base import Ranker

__all__ = ["NotFiniteError", "Ranks", "rank_events", "seen_items", "top_items"]

_EXACT = 1 << 24  # float32 counts exactly up to here
_GROUP = 32  # columns per group in `_first_columns`

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
        for rows, batch in batches:
            scores = Scores(ranker, batch, candidates, user_names=user_names)
            counted: Hidden | Chosen | None = None
            if negatives is not None:
                counted = Chosen(columns[negatives[rows]], targets[rows])
            elif seen is not None:
                counted = Hidden(seen, rows, columns, keep=targets[rows])
            better[rows], tied[rows] = _count(scores, targets[rows], counted).cpu().numpy()
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
    """Item rows (E, k) int32, best first, and their scores (E, k) float32, by the row numbers of the batches.

    Equal scores stand in the order of `candidates`, on every device. Where fewer than k candidates are left,
    the rest of the row is PAD with score -inf.
    """
    if k < 1:
        raise InputError(f"{k} items were asked for; ask for at least 1")
    columns = column_of(candidates)
    parts: list[tuple[Int64s, Tensor, Tensor]] = []
    with torch.inference_mode():
        for rows, batch in batches:
            scores = Scores(ranker, batch, candidates, user_names=user_names)
            hidden = None if seen is None else Hidden(seen, rows, columns, keep=None)
            ids, values = _first(scores, candidates, k, hidden)
            parts.append((rows, ids.cpu(), values.cpu()))
            if progress is not None:
                progress(len(rows))
    return _assembled(parts, k)


def seen_items(items: Int32s, events: EvalEvents) -> list[Int32s]:
    """What each event's user had before it: views into the flat log `items`, for the `seen` of the functions above."""
    ends = zip(events.history_starts.tolist(), events.history_ends.tolist(), strict=True)
    return [items[start:end] for start, end in ends]


def _check_targets(events: EvalEvents, columns: Int64s, user_names: Names | None) -> None:
    absent = np.flatnonzero(columns < 0)
    if len(absent):
        user = told(int(events.users[absent[0]]), user_names)
        raise InputError(
            f"the target of {len(absent)} of {len(events)} events is not among the candidates, first item row "
            f"{events.targets[absent[0]]} of user {user}; take a wider candidate set or leave these events out"
        )


def _count(scores: Scores, columns: Int64s, counted: Hidden | Chosen | None) -> Tensor:
    """(2, B) int32: better than and tied with the score in each row's target column (B,)."""
    device, width = scores.values.device, scores.values.size(1)
    exact = torch.float32 if width < _EXACT else torch.float64
    wanted = torch.from_numpy(columns).to(device)[:, None]  # (B, 1)
    counts = torch.empty(2, len(columns), dtype=torch.int32, device=device)
    room = torch.empty(0, device=device)
    for start, end, block in scores.blocks(None):
        target = block.gather(1, wanted[start:end])  # (b, 1)
        block = block if counted is None else counted.applied(block, start)
        if len(room) < len(block):
            room = torch.empty(block.shape, device=device)
        # Comparisons are written as 0.0 and 1.0: floats are summed several times as fast as booleans are counted.
        flags = room[: len(block)]
        counts[0, start:end] = torch.gt(block, target, out=flags).sum(1, dtype=exact)
        counts[1, start:end] = torch.eq(block, target, out=flags).sum(1, dtype=exact) - 1
    return counts


def _first(scores: Scores, candidates: Tensor, k: int, hidden: Hidden | None) -> tuple[Tensor, Tensor]:
    """Item rows (B, k) int32 and scores (B, k) float32, best first, PAD and -inf where candidates run out."""
    rows, width = scores.values.shape
    ids = torch.full((rows, k), PAD, dtype=torch.int32, device=candidates.device)
    values = torch.full((rows, k), -torch.inf, device=candidates.device)
    kept = min(k, width)
    for start, end, block in scores.blocks(hidden):
        columns = _first_columns(block.float(), kept)
        values[start:end, :kept] = block.gather(1, columns)
        ids[start:end, :kept] = candidates[columns].to(torch.int32)
    return ids.masked_fill_(values == -torch.inf, PAD), values


def _first_columns(scores: Tensor, k: int) -> Tensor:
    """(B, k) columns of the k highest scores, equal scores in column order.

    Only the k groups of columns with the highest maxima (equal ones in order) can hold one of the first k columns:
    each group before a column's own holds a column that comes before it. So most columns are read once.
    """
    width = scores.size(1)
    whole = width // _GROUP * _GROUP
    maxima = scores[:, :whole].reshape(len(scores), -1, _GROUP).amax(2)
    if whole < width:
        maxima = torch.cat([maxima, scores[:, whole:].amax(1, keepdim=True)], 1)  # (B, groups)
    groups = _order_keys(maxima, torch.arange(maxima.size(1), device=scores.device))
    groups = groups.topk(min(k, groups.size(1)), dim=1).indices
    columns = (groups[:, :, None] * _GROUP + torch.arange(_GROUP, device=scores.device)).flatten(1)
    keys = _order_keys(scores.gather(1, columns.clamp(max=width - 1)), columns)
    keys.masked_fill_(columns >= width, torch.iinfo(torch.int64).min)
    return columns.gather(1, keys.topk(k, dim=1).indices)


def _order_keys(scores: Tensor, columns: Tensor) -> Tensor:
    """int64 that sort as (score, then lower column first): no two are equal, so no device has a choice."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same bits
    monotone = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (monotone << 32) - columns


def _assembled(parts: list[tuple[Int64s, Tensor, Tensor]], k: int) -> tuple[Int32s, Float32s]:
    rows = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    if not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise ValueError(f"the batches do not hold each of the rows 0..{len(rows) - 1} once")
    ids, values = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    for numbers, best, scores in parts:
        ids[numbers], values[numbers] = best.numpy(), scores.numpy()
    return ids, values
