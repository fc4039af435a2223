"""The journal -> the log in its final order: by user, then time, then place in the input; cleaned, flat on disk.

Letters:  E events   U users   V items, numbered here by the sorted order of all ids that were ever read
Events are dealt into buckets of whole users, so that each bucket is sorted in memory; the order in which they come
out is final, and all later filters only leave events out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medleyrec.dataset.arrays import BLOCK, ArrayReader, ArrayWriter
from medleyrec.dataset.journal import Events, Journal
from medleyrec.dataset.sql import Step
from medleyrec.schema import Int32s, Int64s, Mask

Duplicates = Literal["all", "first", "last"]
_BUCKET = 1 << 22  # events
_MAX_BUCKETS = 200  # files that are open at once


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are read at all."""

    min_rating: float | None = None
    kinds: tuple[int, ...] | None = None
    """Codes of the event types that stay; None: all."""

    def apply(self, events: Events) -> Events:
        kept = np.ones(len(events), bool)
        if self.min_rating is not None and events.ratings is not None:
            kept &= events.ratings >= self.min_rating  # false for NaN
        if self.kinds is not None and events.kinds is not None:
            kept &= np.isin(events.kinds, self.kinds)
        return events if kept.all() else events.take(kept)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Events of the users [first, last), all of them."""

    first: int
    last: int
    sizes: Int64s  # (last - first,) events per user
    items: Int32s
    times: Int64s

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value per user -> one per event."""
        return np.repeat(values[self.first : self.last], self.sizes)

    def per_user(self, mask: Mask) -> Int64s:
        """How many of each user's events are true."""
        until = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        ends = self.sizes.cumsum()
        return np.asarray(until[ends] - until[ends - self.sizes])


@dataclass(frozen=True, slots=True, eq=False)
class OrderedLog:
    folder: Path
    sizes: Int64s  # (U,) events per user
    num_items: int

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def blocks(self) -> Iterator[Block]:
        """Whole users, about `BLOCK` events at a time."""
        items, times = ArrayReader(self.folder / "items.npy"), ArrayReader(self.folder / "times.npy")
        ends = np.concatenate([[0], self.sizes.cumsum()])
        first = 0
        while first < len(self.sizes):
            last = max(first + 1, int(np.searchsorted(ends, ends[first] + BLOCK, side="right")) - 1)
            a, b = int(ends[first]), int(ends[last])
            yield Block(first, last, self.sizes[first:last], items.read(a, b), times.read(a, b))
            first = last

    def times(self) -> Iterator[Int64s]:
        reader = ArrayReader(self.folder / "times.npy")
        for start in range(0, len(reader), BLOCK):
            yield reader.read(start, min(start + BLOCK, len(reader)))


def order_log(
    journal: Journal,
    folder: Path,
    *,
    filters: Filters,
    duplicates: Duplicates,
    step: Step,
) -> OrderedLog:
    """Write items.npy and times.npy into `folder`, with users and items numbered by their places."""
    users, items = journal.users, journal.items
    sizes = np.zeros(len(users), np.int64)
    done, total = 0, 3 * len(journal)
    for events in journal.blocks():
        sizes += np.bincount(users.places[filters.apply(events).users], minlength=len(sizes))
        step("ordering events", done := done + len(events), total)
    buckets = _Buckets(folder, sizes, with_nanos="nanos" in journal.columns)
    for events in journal.blocks():
        kept = filters.apply(events)
        buckets.deal(users.places[kept.users], items.places[kept.items], kept)
        step("ordering events", done := done + len(events), total)
    left = np.zeros(len(sizes), np.int64)
    with ArrayWriter(folder / "items.npy", np.int32) as rows, ArrayWriter(folder / "times.npy", np.int64) as times:
        for number in range(len(buckets)):
            bucket = _without_repeats(_sorted(buckets.take(number)), duplicates)
            rows.append(bucket["item"])
            times.append(bucket["time"])
            if len(bucket):
                low, high = int(bucket["user"][0]), int(bucket["user"][-1])
                left[low : high + 1] += np.bincount(bucket["user"] - low, minlength=high + 1 - low)
            step("ordering events", min(done := done + len(bucket), total - 1), total)
    step("ordering events", total, total)
    return OrderedLog(folder, left, len(items))


class _Buckets:
    """Events by ranges of users; inside a bucket they stay in the order in which they came."""

    def __init__(self, folder: Path, sizes: Int64s, *, with_nanos: bool) -> None:
        fields = [("user", "<i4"), ("item", "<i4"), ("time", "<i8"), *([("nano", "<i4")] if with_nanos else [])]
        self.kind = np.dtype(fields)
        room = max(_BUCKET, -(-int(sizes.sum()) // _MAX_BUCKETS))
        self.of_user = (np.maximum(sizes.cumsum() - 1, 0) // room).astype(np.int16)
        count = int(self.of_user[-1]) + 1 if len(sizes) else 0
        self.paths = [folder / f"bucket-{n:03d}" for n in range(count)]
        self.files = [path.open("wb") for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def deal(self, users: Int64s, items: Int64s, events: Events) -> None:
        records = np.empty(len(users), self.kind)
        records["user"], records["item"], records["time"] = users, items, events.times
        if events.nanos is not None:
            records["nano"] = events.nanos
        buckets = self.of_user[users]
        order = np.argsort(buckets, kind="stable")
        ends = np.bincount(buckets, minlength=len(self)).cumsum()
        for file, part in zip(self.files, np.split(records[order], ends[:-1]), strict=True):
            file.write(part.data)

    def take(self, number: int) -> NDArray[Any]:
        """The events of a bucket, which is removed."""
        self.files[number].close()
        events = np.fromfile(self.paths[number], self.kind)
        self.paths[number].unlink()
        return events


def _sorted(events: NDArray[Any]) -> NDArray[Any]:
    """By (user, time, nanosecond, place)."""
    if not len(events):
        return events
    users, times = events["user"].astype(np.int64), events["time"]
    users -= users.min()
    start = times.min()
    bits = int(times.max() - start).bit_length()
    if bits + int(users.max()).bit_length() > 63:
        nanos = [events["nano"]] if "nano" in (events.dtype.names or ()) else []
        return events[np.lexsort((*nanos, times, users))]
    key = (users << bits) | (times - start)
    order = np.argsort(key)
    return events[_settled(order, key, events)]


def _settled(order: Int64s, key: Int64s, events: NDArray[Any]) -> Int64s:
    """Sorting was not stable: events of equal keys are put in the order of their nanoseconds and places."""
    ordered = key[order]
    tied = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    tied[:-1] |= tied[1:]
    where = np.flatnonzero(tied)
    some = order[where]
    nanos = [events["nano"][some]] if "nano" in (events.dtype.names or ()) else []
    order[where] = some[np.lexsort((some, *nanos, key[some]))]
    return order


def _without_repeats(events: NDArray[Any], duplicates: Duplicates) -> NDArray[Any]:
    """The first or the last event of each user and item."""
    if duplicates == "all" or not len(events):
        return events
    order = np.lexsort((np.arange(len(events)), events["item"], events["user"]))
    users, items = events["user"][order], events["item"][order]
    changes = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    edge = np.concatenate([[True], changes] if duplicates == "first" else [changes, [True]])
    kept: NDArray[Any] = events[np.sort(order[edge])]
    return kept
