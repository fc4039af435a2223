"""The filtered log -> items.npy, times.npy, offsets.npy and first_seen.npy, and what its order is worth.

Letters:  E events   U users   V items, row 0 being padding
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medleyrec.dataset.arrays import ArrayWriter
from medleyrec.dataset.core import Left
from medleyrec.dataset.order import OrderedLog
from medleyrec.dataset.sql import Step
from medleyrec.schema import Int32s, Int64s

NEVER = np.iinfo(np.int64).max


@dataclass(slots=True, eq=False)
class OrderFacts:
    """Ties leave the order of events to the input; repeats are events whose item the user had before."""

    users: int = 0
    pairs: int = 0
    """Consecutive events of one user."""
    tied: int = 0
    ends: int = 0
    """Users with two events and more."""
    ends_tied: int = 0
    repeats: int = 0
    first: int = NEVER
    last: int = -NEVER
    events: int = field(default=0)

    def add(self, sizes: Int64s, items: Int32s, times: Int64s) -> None:
        """Whole users, each with at least one event."""
        users = np.repeat(np.arange(len(sizes)), sizes)
        tied = (times[1:] == times[:-1]) & (users[1:] == users[:-1])
        ends = sizes.cumsum()[sizes >= 2] - 1
        pairs = np.sort((users << 32) | items)
        self.users += len(sizes)
        self.events += len(items)
        self.pairs += len(items) - len(sizes)
        self.tied += int(tied.sum())
        self.ends += len(ends)
        self.ends_tied += int(tied[ends - 1].sum())
        self.repeats += int((pairs[1:] == pairs[:-1]).sum())
        self.first, self.last = min(self.first, int(times.min())), max(self.last, int(times.max()))

    def told(self) -> dict[str, float]:
        return {
            "tied_consecutive_events": self.tied / max(self.pairs, 1),
            "users_with_last_two_tied": self.ends_tied / max(self.ends, 1),
            "repeat_rate": self.repeats / self.events,
            "mean_events_per_user": self.events / self.users,
            "first_time": self.first,
            "last_time": self.last,
        }


def write_log(log: OrderedLog, left: Left, *, num_items: int, folder: Path, step: Step) -> OrderFacts:
    """Write the events that are left, items numbered from row 1 on; num_items: height V of the item table."""
    facts, first_seen = OrderFacts(), np.full(num_items, NEVER)
    rows_of, sizes = left.items.cumsum(dtype=np.int32), np.zeros(len(log.sizes), np.int64)
    with ArrayWriter(folder / "items.npy", np.int32) as items, ArrayWriter(folder / "times.npy", np.int64) as times:
        for block in log.blocks():
            kept = left.events(block)
            rows, seconds = rows_of[block.items[kept]], block.times[kept]
            some = sizes[block.first : block.last] = block.per_user(kept)
            if len(rows):
                np.minimum.at(first_seen, rows, seconds)
                facts.add(some[some > 0], rows, seconds)
            items.append(rows)
            times.append(seconds)
            step("writing the log", times.count, len(log))
    step("writing the log", len(log), len(log))
    np.save(folder / "offsets.npy", np.concatenate([[0], sizes[left.users].cumsum()]).astype(np.int64))
    np.save(folder / "first_seen.npy", first_seen)
    return facts
