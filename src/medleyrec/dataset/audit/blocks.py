"""The flat log a run of whole users at a time, so that no measure holds more of it than a block.

Letters:  E events of the whole log   n events of a block   U users
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medleyrec.dataset.dataset import Dataset
from medleyrec.schema import Int32s, Int64s, Mask

EVENTS = 1 << 22  # events of a block: 48 MB of items and times


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Users first, first + 1, ...; the k-th owns events ``[offsets[k], offsets[k + 1])`` of the block."""

    first: int
    start: int
    """Index of the block's first event in the flat log."""
    items: Int32s  # (n,)
    times: Int64s  # (n,) seconds
    offsets: Int64s  # (users + 1,)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def users(self) -> Int64s:
        """(n,) user of each event, counted from the block's first."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def consecutive(self) -> Mask:
        """(n - 1,) whether an event and the next one are of the same user."""
        same = np.ones(max(len(self) - 1, 0), np.bool_)
        inner = self.offsets[1:-1]
        same[inner[(inner > 0) & (inner < len(self))] - 1] = False
        return same

    @property
    def gaps(self) -> Int64s:
        """Seconds between consecutive events of a user."""
        return np.asarray(np.diff(self.times)[self.consecutive])


def blocks(dataset: Dataset, events: int = 0) -> Iterator[Block]:
    """Whole users, together about `events` events (by default EVENTS); one user with more is a block of its own."""
    offsets, users, size = dataset.offsets, len(dataset), events or EVENTS
    first = 0
    while first < users:
        reach = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(reach, first + 1), users)
        start, end = int(offsets[first]), int(offsets[last])
        inside = np.asarray(offsets[first : last + 1]) - start
        yield Block(first, start, np.asarray(dataset.items[start:end]), np.asarray(dataset.times[start:end]), inside)
        first = last


def distinct(values: NDArray[np.integer]) -> int:
    """How many different values there are. A sort: `np.unique` hashes, which takes a hundred times as long."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(values)))) if len(values) else 0


def spans(starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s]:
    """(flat indices of all events in the spans ``[starts[k], ends[k])``, the span k of each)."""
    lengths = np.asarray(ends) - np.asarray(starts)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    before = lengths.cumsum() - lengths
    return np.arange(len(owner)) + np.repeat(np.asarray(starts) - before, lengths), owner
