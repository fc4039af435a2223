"""Which events teach, which choose, which judge: two cut points per user, and the facts as of the training part.

Letters:  E events   U users   V items, row 0 being padding
User u trains on [offsets[u], train_end[u]), validates on [train_end[u], validation_end[u]), is tested on the rest.
Leave-one-out cuts each user's history by itself; a global time cut puts everything before one moment into training, so
that nothing is predicted from what happened later to others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medleyrec import storage
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.moments import day
from medleyrec.schema import (
    TEST,
    VALIDATION,
    EvalEvents,
    Facts,
    InputError,
    Int32s,
    Int64s,
    Mask,
)

Targets = Literal["successive", "first", "last", "all"]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingLog:
    """What may be learnt from: event e of user u lies in ``[starts[u], ends[u])`` of the flat log."""

    items: Int32s  # (E,) of the whole log; only what lies inside the spans may be read
    times: Int64s  # (E,) seconds
    starts: Int64s  # (U,)
    ends: Int64s  # (U,)
    num_items: int  # V

    def __len__(self) -> int:
        return len(self.starts)

    def __repr__(self) -> str:
        return f"TrainingLog({len(self)} users, {int((self.ends - self.starts).sum())} events)"

    def blocks(self, size: int = 1 << 22) -> Iterator[TrainingLog]:
        """The same, a run of users at a time, each of about `size` events: for sums over more than memory holds."""
        done = (self.ends - self.starts).cumsum()
        total = int(done[-1]) if len(done) else 0
        edges = np.searchsorted(done, np.arange(size, total + size, size)) + 1  # users that fill a block
        first = 0
        for last in np.unique(np.minimum(edges, len(self))).tolist():
            span = slice(first, last)
            yield TrainingLog(self.items, self.times, self.starts[span], self.ends[span], self.num_items)
            first = last

    @cached_property
    def events(self) -> Int64s:
        """Flat indices of all training events, user by user."""
        lengths = self.ends - self.starts
        before = np.concatenate([[0], lengths.cumsum()[:-1]])
        return np.asarray(np.repeat(self.starts - before, lengths) + np.arange(lengths.sum()), np.int64)

    @cached_property
    def users(self) -> Int64s:
        """User of each entry of `events`."""
        return np.repeat(np.arange(len(self)), self.ends - self.starts)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    dataset: Dataset
    name: str
    train_end: Int64s  # (U,) indices into the flat log
    validation_end: Int64s  # (U,)
    manifest: dict[str, Any]
    targets: Targets = "successive"

    def __repr__(self) -> str:
        parts = ", ".join(f"{n:,} {part}" for part, n in self.manifest["counts"].items())
        return f"Split({self.name}: {parts})"

    @property
    def told(self) -> str:
        """For a reader of a report."""
        cuts = self.manifest["cuts"]
        if cuts is None:
            return self.name
        return (
            f"time cut (validation from {day(cuts[VALIDATION])}, test from {day(cuts[TEST])}; {self.targets} targets)"
        )

    @property
    def is_time_cut(self) -> bool:
        """Whether items that training lacks were unknown at the cut, rather than left out of it."""
        return self.manifest["cuts"] is not None

    @property
    def folder(self) -> Path:
        return self.dataset.folder / "splits" / self.name

    @property
    def filters_looked_ahead(self) -> bool:
        """Whether events after a time cut helped to decide who and what is too rare to stay."""
        options, until = self.dataset.manifest["options"], self.dataset.manifest.get("filter_until")
        if not self.is_time_cut or max(options["min_user_events"], options["min_item_events"]) <= 1:
            return False
        return until is None or until > self.manifest["cuts"][VALIDATION]

    @cached_property
    def facts(self) -> Facts:
        return Facts(**self.manifest["facts"])

    @cached_property
    def train_counts(self) -> Int64s:
        """(V,) training events of each item."""
        return storage.open_array(self.folder / "train_counts.npy")

    @property
    def in_train(self) -> Mask:
        """(V,) whether the training part holds the item."""
        mask: Mask = np.asarray(self.train_counts) > 0
        return mask

    @cached_property
    def vocabulary(self) -> Int32s:
        """Numbers (in `dataset.labels`) of the category labels that training items carry."""
        return storage.open_array(self.folder / "vocabulary.npy")

    @cached_property
    def known(self) -> Mask:
        """(V,) items that a model may know: classes of the softmax. All of the log's, or those seen before the cut."""
        if self.is_time_cut:
            return self.in_train
        rows = np.arange(self.dataset.num_items)
        mask: Mask = (rows > 0) & (rows < self.dataset.num_log_items)
        return mask

    def unanswerable(self, events: EvalEvents) -> Mask:
        """(E,) events that no model can answer from what it learnt: no history, or an item unknown at the cut."""
        mask: Mask = (events.history_ends == events.history_starts) | ~self.known[events.targets]
        return mask

    def training_log(self, *, refit: bool = False) -> TrainingLog:
        """The training part; with `refit` all events, for a model that is to be served."""
        data = self.dataset
        ends = data.offsets[1:] if refit else self.train_end
        return TrainingLog(data.items, data.times, data.offsets[:-1], ends, data.num_items)

    def eval_events(self, part: str) -> EvalEvents:
        """Events of `part` ("validation" or "test") that `targets` chooses.

        A history ends right before its target, or, for `targets = "all"`, where the part begins.
        """
        if part not in (VALIDATION, TEST):
            raise InputError(f"{part!r} is not a part to evaluate on; choose {VALIDATION!r} or {TEST!r}")
        first, last = (
            (self.train_end, self.validation_end)
            if part == VALIDATION
            else (self.validation_end, np.asarray(self.dataset.offsets[1:]))
        )
        if self.targets == "first":
            last = np.minimum(last, first + 1)
        elif self.targets == "last":
            first = np.maximum(first, last - 1)
        users = np.repeat(np.arange(len(first)), last - first)
        before = np.concatenate([[0], (last - first).cumsum()[:-1]])
        events = np.arange(len(users)) + np.repeat(first - before, last - first)
        ends = np.asarray(first)[users] if self.targets == "all" else events
        return EvalEvents(users, self.dataset.offsets[users], ends, np.asarray(self.dataset.items[events]))


def open_split(dataset: Dataset, name: str, *, targets: Targets = "successive") -> Split:
    folder = dataset.folder / "splits" / name
    if not (folder / "manifest.json").exists():
        made = sorted(p.parent.name for p in dataset.folder.glob("splits/*/manifest.json"))
        raise InputError(f"{dataset.folder} has no split {name!r} (it has: {made or 'none'})")
    manifest = storage.read_json(folder / "manifest.json")
    train_end, validation_end = (storage.open_array(folder / f"{n}.npy") for n in ("train_end", "validation_end"))
    return Split(dataset, name, train_end, validation_end, manifest, targets)
