"""The journal of a project: every canonical row that was read, coded, so that a dataset can be built again and grow.

Letters:  E events   N input files
    log/part-0001/            what one preparation, or one append, read
        part.json             its files, and what of the following there is
        users.npy, items.npy  (E,) int32 codes: the place of an id in the dictionaries of all parts, one after another
        times.npy             (E,) int64 seconds
        nanos.npy             (E,) int32 nanoseconds within the second, where there are any
        ratings.npy           (E,) float64, NaN where there is none
        kinds.npy             (E,) int16 codes of event types, -1 where there is none
        user_ids.parquet, item_ids.parquet   ids that no earlier part knew, in order of their codes
        catalogue.parquet     canonical items, and `file`, the number of the file each came from
        pictures.bin, pictures.parquet       pictures that came as bytes, and where each of them lies

Events stand in the order of their file's rows, file after file. Which parts count is said by the dataset alone
(origin.json): a part that a killed append left behind counts for nothing and is swept by the next one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from medleyrec import storage
from medleyrec.config import Config, parse
from medleyrec.dataset.arrays import ArrayReader, spans
from medleyrec.schema import EVENT, ITEM, ORDER, RATING, TIME, USER, Floats, InputError, Int32s, Int64s, Mask

USERS, ITEMS, TIMES, NANOS, RATINGS, KINDS = "users", "items", "times", "nanos", "ratings", "kinds"
DTYPES = {USERS: np.int32, ITEMS: np.int32, TIMES: np.int64, NANOS: np.int32, RATINGS: np.float64, KINDS: np.int16}
NOTHING = {NANOS: 0.0, RATINGS: np.nan, KINDS: -1.0}
"""What stands in a column for an event that lacks the value."""
COLUMN_OF = {RATINGS: RATING, KINDS: EVENT}
"""Canonical name of what not every log has."""
USER_IDS, ITEM_IDS, CATALOGUE, PICTURES = (
    "user_ids.parquet",
    "item_ids.parquet",
    "catalogue.parquet",
    "pictures.parquet",
)
RECORD = "part.json"


class InputFile(Config):
    """An input file by name, and by place where several have the same name: files are read in this order."""

    name: str = ""
    place: str = ""
    rows: int | None = None
    """How many events it holds; None where it is the only one of its part."""


class Inputs(Config):
    """The files that canonical tables came from. `order` counts rows on over those of the log."""

    log: tuple[InputFile, ...] = (InputFile(),)
    items: tuple[InputFile, ...] = (InputFile(),)
    """Empty where there was no catalogue, so that the items are those of the log."""
    images: tuple[InputFile, ...] = ()
    """Tables of pictures as bytes; empty where these came with the items, or not at all."""


class LogFile(Config):
    name: str
    place: str
    start: int
    rows: int
    content: str
    """Hash of its events: equal for equal events, whatever the format they came in."""


class Part(Config):
    folder: Path = Field(default=Path(), exclude=True)
    fingerprint: str = ""
    files: tuple[LogFile, ...]
    columns: tuple[str, ...]
    new_users: int
    new_items: int
    event_names: tuple[str, ...] = ()
    """Of the codes of event types, those of earlier parts first."""
    item_files: tuple[InputFile, ...] = ()
    image_files: tuple[InputFile, ...] = ()
    entries: bool = False
    """Whether it has catalogue.parquet."""
    pictures: int | None = None
    """How many came as bytes; None where pictures come in another way."""

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    def has(self, column: str) -> bool:
        return column in self.columns


def open_parts(home: Path, names: Sequence[str]) -> list[Part]:
    """Raises InputError where one is not there."""
    parts = []
    for name in names:
        if not (home / name / RECORD).exists():
            raise InputError(
                f"{home} lacks {name}, which the dataset was made from; run `medley prepare` again with all input files"
            )
        record = storage.read_json(home / name / RECORD)
        parts.append(parse(Part, {**record, "folder": home / name}, where=str(home / name / RECORD)))
    return parts


def free_name(home: Path) -> str:
    """Of the next part."""
    taken = [int(p.name.split("-")[1]) for p in home.glob("part-[0-9]*")] if home.is_dir() else []
    return f"part-{max(taken, default=0) + 1:04d}"


def sweep(home: Path, keep: Sequence[str]) -> None:
    """Remove the parts that the dataset does not come from."""
    for path in home.glob("*part-[0-9]*") if home.is_dir() else ():
        if path.name not in keep:
            shutil.rmtree(path)
    if home.is_dir() and not keep and not any(home.iterdir()):
        home.rmdir()


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """A run of events, in input order."""

    users: Int32s
    items: Int32s
    times: Int64s
    nanos: Int32s | None = None
    ratings: Floats | None = None
    kinds: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, which: Mask) -> Events:
        nanos = None if self.nanos is None else self.nanos[which]
        return Events(self.users[which], self.items[which], self.times[which], nanos)


class Dictionary:
    """All ids that were ever read, numbered by their codes and by their places in sorted order."""

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths, self.count = paths, sum(sizes)
        self.codes = np.arange(self.count) if sum(n > 0 for n in sizes) <= 1 else _sorted(self._ids())  # by place
        self.places = np.empty_like(self.codes)  # by code
        self.places[self.codes] = np.arange(self.count)

    def __len__(self) -> int:
        return self.count

    def _ids(self) -> pa.Array:
        chunks = [c for path in self.paths for c in pq.read_table(path).column(0).cast(pa.large_string()).chunks]
        return pa.concat_arrays(chunks)

    def sorted_ids(self, chosen: Mask) -> pa.Array:
        """Those of the `chosen` places."""
        return self._ids().take(pa.array(self.codes[chosen]))


def _sorted(ids: pa.Array) -> Int64s:
    """Code by place; text sorts by its bytes."""
    import pyarrow.compute as pc

    return np.asarray(pc.array_sort_indices(ids), np.int64)


@dataclass(frozen=True, eq=False)
class Journal:
    """The parts as one log: what reading all of their files at once would give."""

    parts: Sequence[Part]

    def __len__(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> set[str]:
        return {column for part in self.parts for column in part.columns}

    @property
    def canonical_columns(self) -> set[str]:
        return {USER, ITEM, TIME, ORDER, *(COLUMN_OF[c] for c in self.columns if c in COLUMN_OF)}

    @cached_property
    def users(self) -> Dictionary:
        return Dictionary([p.folder / USER_IDS for p in self.parts], [p.new_users for p in self.parts])

    @cached_property
    def items(self) -> Dictionary:
        return Dictionary([p.folder / ITEM_IDS for p in self.parts], [p.new_items for p in self.parts])

    @property
    def event_names(self) -> tuple[str, ...]:
        return self.parts[-1].event_names

    def files(self) -> list[tuple[Part, LogFile]]:
        """In the order in which they are read: by name."""
        found = [(part, file) for part in self.parts for file in part.files]
        return sorted(found, key=lambda pair: (pair[1].name, pair[1].place))

    def blocks(self) -> Iterator[Events]:
        """All events, file after file in name order, row after row."""
        optional = [c for c in NOTHING if c in self.columns]
        for part, file in self.files():
            readers = {c: ArrayReader(part.folder / f"{c}.npy") for c in part.columns}
            for start, stop in spans(file.start, file.start + file.rows):
                given: dict[str, Any] = {c: np.full(stop - start, NOTHING[c], DTYPES[c]) for c in optional}
                yield Events(**given | {c: reader.read(start, stop) for c, reader in readers.items()})
