"""Blocks of scores as ranking needs them: of the right shape, finite, the size of a cache, seen items out of the way.

Letters:  B rows of a batch   b rows of a block   C candidates   V items, row 0 being padding
Scores are never written to: a Ranker may hand out one row, expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medleyrec.schema import PAD, Batch, InputError, Int32s, Int64s

if TYPE_CHECKING:
    from medleyrec.models.base import Ranker

_BLOCK = 1 << 20  # scores per block on the CPU: 4 MB, small against a batch and inside the cache

Seen = Sequence[Int32s]
"""seen[e]: item rows that do not count for event e."""
Names = Callable[[int], str]
"""From a user's number to its name in the log."""


class NotFiniteError(InputError):
    """A model gave a score that is NaN or infinite, so that no ranking exists."""


class Scores:
    """The scores (B, C) of one batch, handed out in checked blocks."""

    def __init__(self, ranker: Ranker, batch: Batch, candidates: Tensor, *, user_names: Names | None) -> None:
        self.model, self.batch, self.user_names = ranker.name, batch, user_names
        self.values = ranker.scores(batch, candidates)
        wanted = (len(batch), len(candidates))
        if tuple(self.values.shape) != wanted:
            raise ValueError(f"model {self.model!r} gave scores of shape {tuple(self.values.shape)}, not {wanted}")

    def blocks(self, hidden: Hidden | None) -> Iterator[tuple[int, int, Tensor]]:
        """First row, last row (exclusive) and block (b, C); one block on an accelerator, where launches cost more.

        hidden: None where every candidate counts.
        """
        rows, width = self.values.shape
        height = max(1, _BLOCK // width if self.values.device.type == "cpu" else rows)
        for start in range(0, rows, height):
            end = min(start + height, rows)
            block = self.values[start:end]
            self._check(block, start)
            yield start, end, block if hidden is None else hidden.applied(block, start)

    def _check(self, block: Tensor, start: int) -> None:
        """Looks at two numbers per block: the extremes of a block with a NaN are NaN."""
        if bool(torch.isfinite(torch.stack(torch.aminmax(block))).all()):
            return
        row = int((~torch.isfinite(block)).any(1).nonzero()[0])
        value = block[row][~torch.isfinite(block[row])][0].item()
        raise NotFiniteError(
            f"model {self.model!r} gives user {told(int(self.batch.users[start + row]), self.user_names)} the score "
            f"{value}, which has no rank; train it again with a lower learning rate, or mend its features"
        )


class Hidden:
    """Columns of the score block that do not count, for the rows of one batch."""

    def __init__(self, seen: Seen, rows: Int64s, columns: Int64s, *, keep: Int64s | None) -> None:
        self.seen, self.rows, self.columns, self.keep = seen, rows, columns, keep

    def applied(self, block: Tensor, start: int) -> Tensor:
        """A copy of `block`, rows start.. of the batch, with -inf where an item does not count."""
        lists = [np.asarray(self.seen[row]) for row in self.rows[start : start + len(block)].tolist()]
        items = np.concatenate(lists)
        places = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
        known = items < len(self.columns)
        items, places = items[known], places[known]
        found = self.columns[items]
        counted = found >= 0
        if self.keep is not None:
            counted &= found != self.keep[start + places]
        index = torch.from_numpy(np.stack([places[counted], found[counted]])).to(block.device)
        copy = block.clone()
        copy[index[0], index[1]] = -torch.inf
        return copy


class Chosen:
    """Columns of the score block that alone count, for the rows of one batch: the target's and its negatives'."""

    def __init__(self, negatives: Int64s, targets: Int64s) -> None:
        """negatives (B, n), -1 where there is none; targets (B,)."""
        self.columns = torch.from_numpy(np.column_stack([targets, negatives]))

    def applied(self, block: Tensor, start: int) -> Tensor:
        """(b, 1 + n) scores of rows start.. of the batch, -inf where there is no negative."""
        columns = self.columns[start : start + len(block)].to(block.device)
        return block.gather(1, columns.clamp(min=0)).masked_fill_(columns < 0, -torch.inf)


def column_of(candidates: Tensor, highest: int = PAD) -> Int64s:
    """(V',) the column of each item row among the candidates, -1 where it is none; V' covers row `highest` too."""
    rows = candidates.cpu().numpy()
    if rows.ndim != 1 or not len(rows):
        raise InputError(f"the candidates have shape {rows.shape}; a list of at least one item row is needed")
    if rows.min() <= PAD:
        raise InputError(f"item row {rows.min()} is among the candidates; items are rows from {PAD + 1} on")
    columns = np.full(max(int(rows.max()), highest) + 1, -1, np.int64)
    columns[rows] = np.arange(len(rows))
    twice = len(rows) - np.count_nonzero(columns >= 0)
    if twice:
        raise InputError(f"{twice} of {len(rows)} candidates are listed twice; list each item once")
    return columns


def told(user: int, user_names: Names | None) -> str:
    return f"number {user}" if user_names is None else repr(user_names(user))
