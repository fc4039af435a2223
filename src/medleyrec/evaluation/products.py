"""Scores as products: the states of a batch, computed once, times the item rows, a block at a time.

Letters:  B rows of a batch   b rows of a block   L positions   D width   C candidates   c columns of a block
Half the cost of a large catalogue is writing scores to memory and reading them again: a block that is used before the
next one takes its place never leaves the cache. Cutting changes no bit as long as a product keeps 16 rows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medleyrec.schema import Batch

if TYPE_CHECKING:
    from medleyrec.models.base import Frozen, Ranker

POSITIONS = 4096  # of a batch that is encoded at once on the CPU: what the layers of a model make of it fits the cache
FEWEST = 32  # rows that are encoded at once, where there are so many
LARGEST = 1e37  # below it no sum of products overflows on the way, in whatever order it is formed


class Product:
    """Of a model with a fixed item table: states (B, D) and rows (C, D) of the candidates."""

    def __init__(self, frozen: Frozen, candidates: Tensor) -> None:
        self.frozen, self.rows = frozen, rows_of(frozen.table, candidates)
        self.longest = self.rows.norm(dim=1).max()
        self.bounded = False
        self._room = torch.empty(0, dtype=self.rows.dtype, device=self.rows.device)

    @classmethod
    def of(cls, ranker: Ranker, candidates: Tensor) -> Product | None:
        """None where scores are made otherwise. A bare model gets its table here, once for all batches."""
        from medleyrec.models.base import Frozen, SequenceModel

        if isinstance(ranker, SequenceModel) and type(ranker).scores is SequenceModel.scores:
            ranker = Frozen(ranker)
        if not isinstance(ranker, Frozen) or type(ranker).scores is not Frozen.scores:
            return None
        with torch.inference_mode():
            return cls(ranker, candidates)

    def states(self, batch: Batch) -> Tensor:
        """(B, D). `bounded` then says whether their scores must be finite, by the lengths of states and rows."""
        model, table = self.frozen.model, self.frozen.table
        states = torch.cat([model.last_state(part, table) for part in _parts(batch)])
        self.bounded = bool(states.norm(dim=1).max() * self.longest < LARGEST)
        return states

    def scores(self, states: Tensor, start: int, end: int, first: int, last: int) -> Tensor:
        """(end - start, last - first), in a room that the next call uses again."""
        height, width = end - start, last - first
        if len(self._room) < height * width:
            self._room = self.rows.new_empty(height * width)
        out = self._room[: height * width].view(height, width)
        return torch.mm(states[start:end], self.rows[first:last].T, out=out)


def rows_of(table: Tensor, candidates: Tensor) -> Tensor:
    """Rows of the candidates; a range of rows is a view."""
    first, last = int(candidates[0]), int(candidates[-1])
    is_range = last - first + 1 == len(candidates) and bool((candidates.diff() == 1).all())
    return table[first : last + 1] if is_range else table[candidates]


def _parts(batch: Batch) -> list[Batch]:
    """Even parts of at most `POSITIONS`, as wide as the batch: states depend on that width in their last bits."""
    rows, width = batch.items.shape
    most = rows // FEWEST if batch.items.device.type == "cpu" else 1
    count = max(1, min(-(-rows * width // POSITIONS), most))
    edges = [rows * i // count for i in range(count + 1)]
    return [part_of(batch, a, b) for a, b in pairwise(edges)] if count > 1 else [batch]


def part_of(batch: Batch, start: int, end: int) -> Batch:
    """Rows start..end-1 alone."""
    rows = slice(start, end)
    return Batch(batch.items[rows], batch.times[rows], batch.lengths[rows], batch.targets[rows], batch.users[rows])
