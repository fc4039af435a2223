"""Blocks of scores as ranking needs them: of the right shape, finite, the size of a cache, seen items out of the way.

Letters:  B rows of a batch   b rows of a block   C candidates   c columns of a block   V items, row 0 being padding
A ranker whose scores are products of states and item rows is asked for states alone, and the products are formed block
by block (products.py); any other hands out (b, C) scores, which are never written to: it may give one row, expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medleyrec.evaluation.products import Product, part_of
from medleyrec.schema import PAD, Batch, InputError, Int32s, Int64s

if TYPE_CHECKING:
    from medleyrec.models.base import Ranker

_BLOCK = 1 << 20  # scores per block on the CPU: 4 MB, small against a batch and inside the cache
_LAUNCH = 1 << 25  # scores per block on an accelerator, where launches cost more
_ASKED = 1 << 23  # scores that a ranker is asked for at once
_PANEL = 256  # rows of a tile: the product of a narrower one is slow
UNIT = 32  # columns that are looked at together
_FEWEST = 16  # rows of any product: below, it is slow and no longer has the same bits

Seen = Sequence[Int32s]
"""seen[e]: item rows that do not count for event e."""
Names = Callable[[int], str]
"""From a user's number to its name in the log."""


class NotFiniteError(InputError):
    """A model gave a score that is NaN or infinite, so that no ranking exists."""


class Block(NamedTuple):
    """Scores (b, c) of rows start..end-1 of the batch and of the candidates from `column` on."""

    start: int
    end: int
    column: int
    values: Tensor
    owned: bool
    """Whether it may be written to, until the next block is asked for."""


class Scores:
    """The scores of one ranker for one list of candidates (C,), handed out in checked blocks."""

    def __init__(self, ranker: Ranker, candidates: Tensor, *, user_names: Names | None = None) -> None:
        self.ranker, self.candidates, self.user_names = ranker, candidates, user_names
        self.product = Product.of(ranker, candidates)

    def rows(self, batch: Batch) -> Iterator[Block]:
        """Blocks of whole rows, all candidates side by side."""
        width = len(self.candidates)
        if self.product is None:
            yield from self._asked(batch, width)
            return
        states = self.product.states(batch)
        for start, end in _spans(len(batch), max(_FEWEST, self._size() // width)):
            yield self._formed(batch, states, start, end, 0, width)

    def tiles(self, batch: Batch) -> Iterator[Block]:
        """Blocks of some candidates: panel of rows by panel of rows, each from the first candidate to the last."""
        width = len(self.candidates)
        if self.product is None:
            yield from self._asked(batch, width)
            return
        states = self.product.states(batch)
        for start, end in _spans(len(batch), _PANEL):
            for first, last in _spans(width, max(1, self._size() // (end - start)), unit=UNIT):
                yield self._formed(batch, states, start, end, first, last)

    def _size(self) -> int:
        return _BLOCK if self.candidates.device.type == "cpu" else _LAUNCH

    def _asked(self, batch: Batch, width: int) -> Iterator[Block]:
        """What the ranker itself makes of the batch, a part of it at a time where it is large."""
        for first, last in _spans(len(batch), max(_FEWEST, _ASKED // width)):
            part = batch if last - first == len(batch) else part_of(batch, first, last)
            values = self.ranker.scores(part, self.candidates)
            if tuple(values.shape) != (len(part), width):
                raise ValueError(
                    f"model {self.ranker.name!r} gave scores of shape {tuple(values.shape)}, not {(len(part), width)}"
                )
            for start, end in _spans(len(part), max(1, self._size() // width)):
                self._check(values[start:end], batch, first + start)
                yield Block(first + start, first + end, 0, values[start:end], owned=False)

    def _formed(self, batch: Batch, states: Tensor, start: int, end: int, first: int, last: int) -> Block:
        assert self.product is not None
        values = self.product.scores(states, start, end, first, last)
        if not self.product.bounded:
            self._check(values, batch, start)
        return Block(start, end, first, values, owned=True)

    def _check(self, block: Tensor, batch: Batch, start: int) -> None:
        """Looks at two numbers per block: the extremes of a block with a NaN are NaN."""
        if bool(torch.isfinite(torch.stack(torch.aminmax(block))).all()):
            return
        row = int((~torch.isfinite(block)).any(1).nonzero()[0])
        value = block[row][~torch.isfinite(block[row])][0].item()
        raise NotFiniteError(
            f"model {self.ranker.name!r} gives user {told(int(batch.users[start + row]), self.user_names)} the score "
            f"{value}, which has no rank; train it again with a lower learning rate, or mend its features"
        )


def _spans(total: int, size: int, unit: int = 1) -> Iterator[tuple[int, int]]:
    """Even spans (start, end) of `size` to twice as many, none too short; all but the last are whole units."""
    count = max(1, total // max(size, unit))
    edges = [total * i // count // unit * unit for i in range(count)]
    return pairwise([*edges, total])


class Hidden:
    """Columns of the scores that do not count, for the rows of one batch."""

    def __init__(self, seen: Seen, rows: Int64s, columns: Int64s, *, keep: Int64s | None) -> None:
        """rows (B,) numbers into `seen`; columns as of `column_of`; keep (B,) columns that count all the same."""
        lists = [np.asarray(seen[row]) for row in rows.tolist()]
        items = np.concatenate(lists) if lists else np.empty(0, np.int32)
        places = np.repeat(np.arange(len(lists)), [len(some) for some in lists])
        known = items < len(columns)
        items, places = items[known], places[known]
        found = columns[items]
        counted = found >= 0
        if keep is not None:
            counted &= found != keep[places]
        order = np.argsort(found[counted], kind="stable")
        self.places, self.columns = places[counted][order], found[counted][order]

    def applied(self, block: Block) -> Tensor:
        """The block's values with -inf where an item does not count."""
        values = block.values if block.owned else block.values.clone()
        span = slice(*np.searchsorted(self.columns, [block.column, block.column + values.shape[1]]))
        places, columns = self.places[span], self.columns[span]
        inside = (places >= block.start) & (places < block.end)
        index = np.stack([places[inside] - block.start, columns[inside] - block.column])
        rows, cells = torch.from_numpy(index).to(values.device)
        values[rows, cells] = -torch.inf
        return values


class Chosen:
    """Columns of the scores that alone count, for the rows of one batch: the target's and its negatives'."""

    def __init__(self, negatives: Int64s, targets: Int64s) -> None:
        """negatives (B, n), -1 where there is none; targets (B,)."""
        self.columns = torch.from_numpy(np.column_stack([targets, negatives]))

    def applied(self, block: Block) -> Tensor:
        """(b, 1 + n) scores of a block of whole rows, -inf where there is no negative."""
        columns = self.columns[block.start : block.end].to(block.values.device)
        return block.values.gather(1, columns.clamp(min=0)).masked_fill_(columns < 0, -torch.inf)


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
