"""Which events teach, which choose, which judge: two cut points per user, and the facts as of the training part.

Letters:  E events   U users   V items, row 0 being padding
User u trains on [offsets[u], train_end[u]), validates on [train_end[u], validation_end[u]), is tested on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medleyrec import storage
from medleyrec.dataset.dataset import Dataset
from medleyrec.schema import LEAVE_ONE_OUT, TEST, TRAIN, VALIDATION, EvalEvents, Facts, InputError, Int32s, Int64s, Mask

FORMAT_VERSION = 1


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

    def __repr__(self) -> str:
        parts = ", ".join(f"{n:,} {part}" for part, n in self.manifest["counts"].items())
        return f"Split({self.name}: {parts})"

    @property
    def folder(self) -> Path:
        return self.dataset.folder / "splits" / self.name

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
        return self.train_counts > 0

    @cached_property
    def vocabulary(self) -> Int32s:
        """Numbers (in `dataset.labels`) of the category labels that training items carry."""
        return storage.open_array(self.folder / "vocabulary.npy")

    def training_log(self, *, refit: bool = False) -> TrainingLog:
        """The training part; with `refit` all events, for a model that is to be served."""
        data = self.dataset
        ends = data.offsets[1:] if refit else self.train_end
        return TrainingLog(data.items, data.times, data.offsets[:-1], ends, data.num_items)

    def eval_events(self, part: str) -> EvalEvents:
        """Events of `part` ("validation" or "test"); each history ends right before its target."""
        if part not in (VALIDATION, TEST):
            raise InputError(f"{part!r} is not a part to evaluate on; choose {VALIDATION!r} or {TEST!r}")
        first, last = (
            (self.train_end, self.validation_end)
            if part == VALIDATION
            else (self.validation_end, self.dataset.offsets[1:])
        )
        users = np.repeat(np.arange(len(first)), last - first)
        before = np.concatenate([[0], (last - first).cumsum()[:-1]])
        targets = np.arange(len(users)) + np.repeat(first - before, last - first)
        return EvalEvents(users, self.dataset.offsets[users], targets, np.asarray(self.dataset.items[targets]))


def leave_one_out(dataset: Dataset) -> Split:
    """The last event of each user is tested, the one before validated; users with fewer than 3 events only train.

    Found finished, it is opened; else it is computed and written to ``splits/leave-one-out``.
    """
    folder = dataset.folder / "splits" / LEAVE_ONE_OUT
    if not (folder / "manifest.json").exists():
        ends = np.asarray(dataset.offsets[1:])
        held_out = np.where(np.diff(dataset.offsets) >= 3, 1, 0)
        _write(dataset, folder, LEAVE_ONE_OUT, ends - 2 * held_out, ends - held_out)
    return open_split(dataset, LEAVE_ONE_OUT)


SPLITS = {LEAVE_ONE_OUT: leave_one_out}


def open_split(dataset: Dataset, name: str) -> Split:
    folder = dataset.folder / "splits" / name
    if not (folder / "manifest.json").exists():
        made = sorted(p.parent.name for p in dataset.folder.glob("splits/*/manifest.json"))
        raise InputError(f"{dataset.folder} has no split {name!r} (it has: {made or 'none'})")
    manifest = storage.read_json(folder / "manifest.json")
    train_end, validation_end = (storage.open_array(folder / f"{n}.npy") for n in ("train_end", "validation_end"))
    return Split(dataset, name, train_end, validation_end, manifest)


def _write(dataset: Dataset, folder: Path, name: str, train_end: Int64s, validation_end: Int64s) -> None:
    log = TrainingLog(dataset.items, dataset.times, dataset.offsets[:-1], train_end, dataset.num_items)
    counts = np.bincount(dataset.items[log.events], minlength=dataset.num_items).astype(np.int64)
    vocabulary = _vocabulary(dataset, counts > 0)
    with storage.atomic_folder(folder) as partial:
        for key, array in (("train_end", train_end), ("validation_end", validation_end), ("train_counts", counts)):
            np.save(partial / f"{key}.npy", array)
        np.save(partial / "vocabulary.npy", vocabulary)
        manifest = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "dataset": dataset.manifest["identity"],
            "counts": {
                TRAIN: len(log.events),
                VALIDATION: int((validation_end - train_end).sum()),
                TEST: int((dataset.offsets[1:] - validation_end).sum()),
            },
            "facts": {
                "num_items": dataset.num_items,
                "num_categories": len(vocabulary),
                **_time_facts(dataset, log),
            },
        }
        storage.write_json(partial / "manifest.json", manifest)


def _vocabulary(dataset: Dataset, in_train: Mask) -> Int32s:
    offsets, labels = dataset.categories
    rows = np.repeat(np.arange(dataset.num_items), np.diff(offsets))
    return np.unique(labels[in_train[rows]]).astype(np.int32)


def _time_facts(dataset: Dataset, log: TrainingLog) -> dict[str, int]:
    times, users = dataset.times[log.events], log.users
    gaps = np.diff(times)[users[1:] == users[:-1]]
    return {
        "start_time": int(times.min()) if len(times) else 0,
        "max_gap": int(gaps.max()) if len(gaps) else 0,
    }
