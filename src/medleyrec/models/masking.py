"""Masked rows: what a model that looks both ways is taught with, and what it is asked.

Letters:  B rows   L positions   W = L + 1 positions of a row with its last target, or with a mask appended
Rows are left-aligned. A masked position is one whose item the model must not see: put the mask token (a parameter of
the model, never an item id) in its place BEFORE anything looks at the row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medleyrec.schema import PAD, Batch

SLOW = "bert4rec needs several times the epochs of sasrec; see that train.epochs and train.patience allow them."
"""For the user of a model that learns from masked events."""


def whole_rows(batch: Batch) -> tuple[Tensor, Tensor]:
    """Items (B, W) of each row with the target of its last event appended, and lengths (B,). Other targets are moot."""
    row, last = torch.arange(len(batch), device=batch.items.device), (batch.lengths - 1).clamp(min=0)
    final = batch.targets[row, last]  # (B,) PAD where a row teaches nothing
    items = torch.cat([batch.items, torch.full_like(batch.items[:, :1], PAD)], 1)
    items[row, batch.lengths] = final
    return items, batch.lengths + (final != PAD)


def drawn(lengths: Tensor, width: int, share: float, *, last: float = 0.0) -> Tensor:
    """Positions (B, width) to mask: of each row a random `share` of its events, at least one, but never all of several.

    last: share of the rows in which the last event alone is masked, as when a model is asked for the next one.
    """
    position = torch.arange(width, device=lengths.device)
    real = position < lengths[:, None]  # (B, width)
    count = torch.minimum((lengths * share).round().clamp(min=1), (lengths - 1).clamp(min=1))
    lot = torch.rand(real.shape, device=lengths.device).masked_fill_(~real, 2.0)  # padding is drawn last
    some = lot.argsort(1).argsort(1) < count[:, None]
    only_last = torch.rand(len(lengths), device=lengths.device) < last
    return torch.where(only_last[:, None], position == lengths[:, None] - 1, some) & real


def places(masked: Tensor) -> Tensor:
    """Where in the flattened rows the masked positions (B, W) are: (T,), rising.

    Only the device knows how many there are: ask before the states are computed, and the host does not wait for these.
    """
    return masked.flatten().nonzero()[:, 0]


def appended(batch: Batch, max_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The last `max_length` events of each row and one masked position: items (B, W), lengths (B,), masked (B, W)."""
    kept = batch.lengths.clamp(max=max_length)
    position = torch.arange(min(batch.items.shape[1], max_length) + 1, device=batch.items.device)
    event = position + (batch.lengths - kept)[:, None]  # (B, W)
    items = batch.items.gather(1, event.clamp(max=batch.items.shape[1] - 1))
    items = torch.where(position < kept[:, None], items, PAD)
    return items, kept + 1, position == kept[:, None]
