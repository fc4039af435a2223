"""Texts of similar length together, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions of texts, longest first, in batches of at most `budget` tokens with padding; at least one a batch."""
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    batch: list[int] = []
    for position in order:
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
