"""How a log is cut into its parts: each user's last events left out, or one moment for all.

Letters:  E events   U users   V items, row 0 being padding
A split is written once per dataset, into ``splits/<name>``: cut points, training counts, vocabulary, facts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from medleyrec import storage
from medleyrec.config import Config
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.moments import day, seconds_of
from medleyrec.dataset.split import Split, Targets, TrainingLog, open_split
from medleyrec.schema import LEAVE_ONE_OUT, TEST, TIME_CUT, TRAIN, VALIDATION, InputError, Int32s, Int64s, Mask

FORMAT_VERSION = 2


class SplitConfig(Config):
    """Where the log is cut. The published comparisons leave one out; what a shop will see is the global time cut."""

    kind: Literal["leave-one-out", "time"] = "leave-one-out"
    targets: Targets = Field(
        default="successive",
        description="of a user's events after the cut: each from all before it, the first, the last, or all from the "
        "history at the cut",
    )
    validation_share: float = Field(default=0.1, gt=0, lt=1, description="of all events, right before the test part")
    test_share: float = Field(default=0.1, gt=0, lt=1, description="of all events, the latest")
    validation_from: str | None = Field(default=None, description="a date instead of the share, such as 2014-01-01")
    test_from: str | None = None

    @field_validator("validation_from", "test_from", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """TOML has dates of its own."""
        return value.isoformat() if hasattr(value, "isoformat") else value

    @field_validator("validation_from", "test_from")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            seconds_of(value)
        return value

    @model_validator(mode="after")
    def _ordered(self) -> SplitConfig:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        if self.test_from and not self.validation_from:
            raise ValueError("test_from needs validation_from: name both days")
        if self.validation_from and self.test_from and seconds_of(self.validation_from) >= seconds_of(self.test_from):
            raise ValueError("validation_from must be before test_from")
        return self

    @property
    def name(self) -> str:
        """Of the folder under `splits`: the cut alone; targets are chosen from the same parts."""
        if self.kind == LEAVE_ONE_OUT:
            return LEAVE_ONE_OUT
        parts = (self.validation_from or f"{self.validation_share:g}", self.test_from or f"{self.test_share:g}")
        return "-".join((TIME_CUT, *(p.replace(":", "").replace("/", "") for p in parts)))


def make_split(dataset: Dataset, config: SplitConfig | None = None) -> Split:
    """Open the split that `config` names (leave-one-out by default), computing it where it is not there yet.

    Raises InputError where a time cut leaves a part without events.
    """
    config = config or SplitConfig()
    folder = dataset.folder / "splits" / config.name
    if not (folder / "manifest.json").exists():
        SPLITS[config.kind](dataset, config, folder)
    return open_split(dataset, config.name, targets=config.targets)


def leave_one_out(dataset: Dataset) -> Split:
    """The last event of each user is tested, the one before validated; users with fewer than 3 events only train."""
    return make_split(dataset)


def time_cut(dataset: Dataset, **settings: Any) -> Split:
    """``time_cut(dataset, test_share=0.1, targets="successive")``; see `SplitConfig`."""
    return make_split(dataset, SplitConfig(kind="time", **settings))


def _leave_one_out(dataset: Dataset, config: SplitConfig, folder: Path) -> None:
    ends = np.asarray(dataset.offsets[1:])
    held_out = np.where(np.diff(dataset.offsets) >= 3, 1, 0)
    _write(dataset, folder, config, ends - 2 * held_out, ends - held_out, cuts=None)


def _time_cut(dataset: Dataset, config: SplitConfig, folder: Path) -> None:
    cuts = _cuts(dataset, config)
    starts = np.asarray(dataset.offsets[:-1])
    train_end, validation_end = (
        starts + np.add.reduceat(dataset.times < cut, starts, dtype=np.int64) for cut in (cuts[VALIDATION], cuts[TEST])
    )
    sizes = {
        "to train on": int((train_end - starts).sum()),
        f"from {day(cuts[VALIDATION])} to {day(cuts[TEST])} to validate on": int((validation_end - train_end).sum()),
        f"from {day(cuts[TEST])} on to test on": int((dataset.offsets[1:] - validation_end).sum()),
    }
    for told, size in sizes.items():
        if not size:
            raise InputError(
                f"the time cut leaves no event {told}; the log runs from {day(int(dataset.times.min()))} to "
                f"{day(int(dataset.times.max()))}: choose split.validation_from and split.test_from inside it"
            )
    _write(dataset, folder, config, train_end, validation_end, cuts=cuts)


SPLITS = {LEAVE_ONE_OUT: _leave_one_out, TIME_CUT: _time_cut}


def _cuts(dataset: Dataset, config: SplitConfig) -> dict[str, int]:
    """First second of the validation part and of the test part.

    Filters that looked at the events before one moment alone (`prepare.filter_until`) set the validation cut there.
    """
    filtered = dataset.manifest.get("filter_until")
    if config.validation_from is not None:
        validation = seconds_of(config.validation_from)
    elif filtered is not None:
        validation = int(filtered)
    else:
        validation = _time_at(dataset.times, 1 - config.test_share - config.validation_share)
    if config.test_from is not None:
        return {VALIDATION: validation, TEST: seconds_of(config.test_from)}
    share = config.test_share / (config.test_share + config.validation_share)
    return {VALIDATION: validation, TEST: _time_at(dataset.times[dataset.times >= validation], 1 - share)}


def _time_at(times: Int64s, share: float) -> int:
    """Time of the event with number floor(share * E) in time order."""
    if not len(times):
        return 0
    # Shares such as 1 - 0.1 - 0.1 fall a rounding error short of what was meant.
    number = min(int(share * len(times) + 1e-9 * len(times)), len(times) - 1)
    return int(np.partition(times, number)[number])


def _write(
    dataset: Dataset,
    folder: Path,
    config: SplitConfig,
    train_end: Int64s,
    validation_end: Int64s,
    *,
    cuts: dict[str, int] | None,
) -> None:
    log = TrainingLog(dataset.items, dataset.times, dataset.offsets[:-1], train_end, dataset.num_items)
    counts = np.zeros(dataset.num_items, np.int64)
    for block in log.blocks():
        counts += np.bincount(dataset.items[block.events], minlength=dataset.num_items)
    vocabulary = _vocabulary(dataset, counts > 0)
    with storage.atomic_folder(folder) as partial:
        for key, array in (("train_end", train_end), ("validation_end", validation_end), ("train_counts", counts)):
            np.save(partial / f"{key}.npy", array)
        np.save(partial / "vocabulary.npy", vocabulary)
        manifest = {
            "format_version": FORMAT_VERSION,
            "name": config.name,
            "kind": config.kind,
            "cuts": cuts,
            "dataset": dataset.manifest["identity"],
            "counts": {
                TRAIN: int(counts.sum()),
                VALIDATION: int((validation_end - train_end).sum()),
                TEST: int((dataset.offsets[1:] - validation_end).sum()),
            },
            "facts": {
                "num_items": dataset.num_items,
                "num_categories": len(vocabulary),
                **_time_facts(log),
            },
        }
        storage.write_json(partial / "manifest.json", manifest)


def _vocabulary(dataset: Dataset, in_train: Mask) -> Int32s:
    offsets, labels = dataset.categories
    rows = np.repeat(np.arange(dataset.num_items), np.diff(offsets))
    return np.unique(labels[in_train[rows]]).astype(np.int32)


def _time_facts(log: TrainingLog) -> dict[str, int]:
    start, max_gap = None, 0
    for block in log.blocks():
        events, users = block.events, block.users
        if not len(events):
            continue
        times = block.times[events]
        gaps = np.diff(times)[users[1:] == users[:-1]]
        start = min(int(times.min()), start if start is not None else int(times.min()))
        max_gap = max(max_gap, int(gaps.max(initial=0)))
    return {"start_time": start or 0, "max_gap": max_gap}
