"""The untrained transition heuristic: what followed the last one or two items in the training log.

Letters:  B rows   C candidates   V items   E events
score(v) = P(v | last) + second * P2(v | second last) + back_off * cosine(v, last) + a trace of popularity,
where P counts pairs of consecutive training events, P2 pairs two apart, and cosine compares the users of two items
(item-kNN). A strong yardstick that takes seconds (arXiv 2605.07125): a trained model has to beat it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from medleyrec.config import Config
from medleyrec.schema import Batch, Int32s, Int64s

POPULARITY_TRACE = 1e-6  # only orders what nothing else tells apart
RECENT = 50  # events per user that enter the item-kNN part: its cost grows with the square of a history


class TransitionSettings(Config):
    second: float = Field(
        default=0.5, ge=0, description="weight of what followed two events later; 0 looks at one item"
    )
    back_off: float = Field(default=0.1, ge=0, description="weight of the item-kNN part")


class Transitions:
    Settings: ClassVar[type[Config]] = TransitionSettings
    name = "transitions"

    def __init__(self, settings: TransitionSettings) -> None:
        self.settings = settings

    def fit(self, items: Int32s, times: Int64s, users: Int64s, *, num_items: int) -> Transitions:
        """Learn from training events (E,) sorted by user and time."""
        one = _shares(_pairs(items, users, apart=1, num_items=num_items))
        near = _cosine(items, users, num_items=num_items)
        self.after_last = (one + self.settings.back_off * near).tocsr()
        self.after_second = (self.settings.second * _shares(_pairs(items, users, apart=2, num_items=num_items))).tocsr()
        counts = np.bincount(items, minlength=num_items).astype(np.float32)
        self.trace = POPULARITY_TRACE * counts / max(counts.max(), 1)
        return self

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        items, lengths = batch.items.cpu().numpy(), batch.lengths.cpu().numpy()
        row = np.arange(len(items))
        last = np.where(lengths > 0, items[row, np.maximum(lengths - 1, 0)], 0)
        second = np.where(lengths > 1, items[row, np.maximum(lengths - 2, 0)], 0)
        scores = (self.after_last[last] + self.after_second[second]).toarray()  # (B, V)
        scores += self.trace
        dense = torch.from_numpy(scores).to(candidates.device)
        return dense[:, candidates]  # (B, C)


def _pairs(items: Int32s, users: Int64s, *, apart: int, num_items: int) -> Any:
    """Sparse (V, V) counts of "v came `apart` events after u"."""
    from scipy.sparse import coo_array

    same = users[apart:] == users[:-apart]
    first, then = items[:-apart][same], items[apart:][same]
    return coo_array((np.ones(len(first), np.float32), (first, then)), (num_items, num_items)).tocsr()


def _shares(counts: Any) -> Any:
    """Rows that sum to 1, or to 0 where there is no count."""
    from scipy.sparse import diags_array

    totals = np.asarray(counts.sum(1)).ravel()
    return diags_array(1 / np.maximum(totals, 1)).astype(np.float32) @ counts


def _cosine(items: Int32s, users: Int64s, *, num_items: int) -> Any:
    """Sparse (V, V) cosine of the sets of users; the diagonal is empty."""
    from scipy.sparse import coo_array, diags_array

    if not len(items):
        return coo_array((num_items, num_items), dtype=np.float32).tocsr()
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    ends = np.append(starts[1:], len(users))
    recent = np.arange(len(users)) >= np.repeat(ends - RECENT, ends - starts)
    taken = coo_array((np.ones(recent.sum(), np.float32), (users[recent], items[recent]))).tocsr()
    taken.resize((int(users.max()) + 1, num_items))
    taken.data[:] = 1
    norms = np.sqrt(np.asarray(taken.sum(0)).ravel())
    scale = diags_array(1 / np.maximum(norms, 1)).astype(np.float32)
    near = (scale @ (taken.T @ taken) @ scale).tocsr()
    near.setdiag(0)
    near.eliminate_zeros()
    return near
