"""Which categories an item has, and the loss that asks a model to tell them (HM4SR, category prediction).

Letters:  V items, row 0 being padding   C categories   P labels of an item   N tokens   D width of an item vector
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medleyrec.schema import Int32s, Int64s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Categories:
    """Item row r has the categories ``labels[offsets[r]:offsets[r + 1]]``, numbers below `count`."""

    offsets: Int64s  # (V + 1,)
    labels: Int32s
    count: int  # C

    @classmethod
    def of(cls, offsets: Int64s, labels: Int32s, vocabulary: Int32s) -> Categories:
        """Labels renumbered as places in the sorted `vocabulary` (C,); what it lacks is left out."""
        kept = np.isin(labels, vocabulary)
        before = np.concatenate([[0], np.cumsum(kept)])
        renumbered = np.searchsorted(vocabulary, labels[kept]).astype(np.int32)
        return cls(offsets=before[offsets].astype(np.int64), labels=renumbered, count=len(vocabulary))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"Categories({self.count} of {len(self)} items, {len(self.labels)} labels)"

    def multi_hot(self) -> Tensor:
        """bool (V, C)"""
        table = torch.zeros(len(self), self.count, dtype=torch.bool)
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        table[torch.from_numpy(rows), torch.from_numpy(self.labels.astype(np.int64))] = True
        return table

    def padded(self) -> tuple[Tensor, Tensor]:
        """Labels of every item side by side, each once: numbers int64 (V, P), 0 where `real`, bool (V, P), is false."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        pairs = np.unique(np.stack([rows, self.labels], 1).astype(np.int64), axis=0)  # (n, 2) sorted by row
        counts = np.bincount(pairs[:, 0], minlength=len(self))
        place = np.arange(len(pairs)) - np.repeat(counts.cumsum() - counts, counts)
        numbers = torch.zeros(len(self), max(int(counts.max(initial=0)), 1), dtype=torch.int64)
        real = torch.zeros(numbers.shape, dtype=torch.bool)
        numbers[pairs[:, 0], place], real[pairs[:, 0], place] = torch.from_numpy(pairs[:, 1]), True
        return numbers, real


def category_loss(logits: Tensor, wanted: Tensor, real: Tensor) -> Tensor:
    """Binary cross entropy of logits (N, C) against `wanted` (N, C), mean over `real` (N,) tokens and all classes."""
    weight = real[:, None].to(logits.dtype)
    summed = F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), weight=weight, reduction="sum")
    return summed / (weight.sum() * logits.shape[1])
