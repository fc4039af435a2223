"""The first k of many candidates, block by block: what was found so far decides what of a block is worth a look.

Letters:  B rows   b rows of a block   c columns of a block   k places
A place is one int64: the score's bits in rising order above, the column counted down below. No two are equal, so no
device has a choice: higher scores first, equal ones in column order. (b, C) scores are never side by side.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medleyrec.evaluation.scoring import UNIT, Hidden, Scores
from medleyrec.schema import PAD, Batch, Int32s

_NONE = torch.iinfo(torch.int64).min  # behind every score
_LOW = (1 << 32) - 1


def first_items(scores: Scores, batch: Batch, k: int, hidden: Hidden | None) -> tuple[Int32s, NDArray[np.float32]]:
    """Item rows (B, k) and scores (B, k), best first, PAD and -inf where candidates run out."""
    places = torch.full((len(batch), k), _NONE, device=scores.candidates.device)
    last = torch.full((len(batch), 1), -torch.inf, device=places.device)  # scores in the last place
    for block in scores.tiles(batch):
        values = (block.values if hidden is None else hidden.applied(block)).float()
        mine, least = places[block.start : block.end], last[block.start : block.end]
        if block.column == 0:
            found = first_places(values, k)
            mine[:, : found.shape[1]] = found
            least.copy_(_read(mine[:, -1:])[0])
        else:
            _improve(mine, least, values, block.column)
    values, columns = _read(places)
    items = scores.candidates[columns.clamp(max=len(scores.candidates) - 1)]
    items = torch.where(values == -torch.inf, PAD, items).int()
    return items.cpu().numpy(), values.cpu().numpy()


def first_places(scores: Tensor, k: int) -> Tensor:
    """(b, min(k, c)) places of the highest scores (b, c), falling.

    Only the k groups of columns with the highest maxima (equal ones in order) can hold one of the first k columns:
    each group before a column's own holds a column that comes before it. So most columns are read once.
    """
    width, maxima = scores.shape[1], _maxima(scores)
    groups = _placed(maxima, torch.arange(maxima.shape[1], device=scores.device))
    groups = groups.topk(min(k, maxima.shape[1]), dim=1).indices
    columns = (groups[:, :, None] * UNIT + torch.arange(UNIT, device=scores.device)).flatten(1)
    places = _placed(scores.gather(1, columns.clamp(max=width - 1)), columns)
    places.masked_fill_(columns >= width, _NONE)
    return places.topk(min(k, width), dim=1).values


def _improve(places: Tensor, last: Tensor, scores: Tensor, column: int) -> None:
    """Put into `places` (b, k) what of `scores` (b, c), columns from `column` on, is higher than `last` (b, 1) of them.

    An equal score comes later, so it stays behind.
    """
    rows, groups = torch.nonzero(_maxima(scores) > last, as_tuple=True)
    if not len(rows):
        return
    columns = groups[:, None] * UNIT + torch.arange(UNIT, device=scores.device)  # (n, UNIT)
    inside = columns < scores.shape[1]
    some = scores[rows[:, None], columns.clamp_(max=scores.shape[1] - 1)]
    hit, cell = torch.nonzero((some > last[rows]) & inside, as_tuple=True)
    found = _placed(some[hit, cell], columns[hit, cell] + column)
    who, count = torch.unique_consecutive(rows[hit], return_counts=True)
    turn = torch.arange(len(hit), device=scores.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    wide = torch.full((len(who), int(count.max())), _NONE, device=scores.device)
    wide[torch.repeat_interleave(torch.arange(len(who), device=scores.device), count), turn] = found
    better = torch.cat([places[who], wide], 1).topk(places.shape[1], dim=1).values
    places[who], last[who] = better, _read(better[:, -1:])[0]


def _maxima(scores: Tensor) -> Tensor:
    """(b, groups): the highest score of each group of columns, the last one being shorter."""
    whole = scores.shape[1] // UNIT * UNIT
    maxima = scores[:, :whole].reshape(len(scores), -1, UNIT).amax(2)
    if whole == scores.shape[1]:
        return maxima
    return torch.cat([maxima, scores[:, whole:].amax(1, keepdim=True)], 1)


def _placed(scores: Tensor, columns: Tensor) -> Tensor:
    """int64 that rise with the score, and among equal scores with a lower column."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same bits
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (rising << 32) - columns


def _read(places: Tensor) -> tuple[Tensor, Tensor]:
    """(scores, columns) of places; -inf where there is none."""
    columns = -places & _LOW
    rising = ((places + columns) >> 32).int()
    bits = torch.where(rising < 0, rising ^ 0x7FFFFFFF, rising)
    scores = bits.view(torch.float32).masked_fill(places == _NONE, -torch.inf)
    return scores, columns
