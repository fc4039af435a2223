"""A prepared dataset: memory-mapped sequences of all users, and what is known of every item.

Letters:  E events   U users   V items, row 0 being padding
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medleyrec import storage
from medleyrec.dataset.pictures import read_picture
from medleyrec.schema import ITEM, USER, InputError, Int32s, Int64s

FORMAT_VERSION = 2
ORIGIN = "origin.json"
"""Where and how the input lay: the only file in which equal datasets may differ."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """User u owns ``items[offsets[u]:offsets[u + 1]]``, in time order. External ids are text, rows are integers."""

    folder: Path
    manifest: dict[str, Any]
    items: Int32s  # (E,) rows of the item table, 1..V-1
    times: Int64s  # (E,) seconds since the epoch
    offsets: Int64s  # (U + 1,)

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Raises InputError where `folder` is not a dataset, or one of another format version."""
        folder = Path(folder)
        if not (folder / "manifest.json").exists():
            raise InputError(f"{folder} is not a prepared dataset (no manifest.json in it); run `medley prepare` first")
        manifest = storage.read_json(folder / "manifest.json")
        if manifest.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"{folder} has format version {manifest.get('format_version')}, this Medley reads {FORMAT_VERSION}; "
                "run `medley prepare` again"
            )
        arrays = (storage.open_array(folder / f"{name}.npy") for name in ("items", "times", "offsets"))
        return cls(folder, manifest, *arrays)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"Dataset({len(self):,} users, {self.num_items - 1:,} items, {len(self.items):,} events; {self.folder})"

    @property
    def num_items(self) -> int:
        """V: items and the padding row."""
        return int(self.manifest["counts"]["items"]) + 1

    @property
    def num_log_items(self) -> int:
        """Height of the part of the item table that the log touches, padding included; softmax classes lie below it."""
        return int(self.manifest["counts"]["items_in_log"]) + 1

    @cached_property
    def catalogue(self) -> pa.Table:
        """What is known of items 1..V-1, one row each; row r of the item table is row r - 1 here."""
        return pq.read_table(self.folder / "catalogue.parquet")

    @cached_property
    def item_ids(self) -> list[str]:
        """External ids by item row; the padding row is the empty text."""
        return ["", *self.catalogue.column(ITEM).to_pylist()]

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """External item id -> row."""
        return {name: row for row, name in enumerate(self.item_ids) if row}

    @cached_property
    def user_ids(self) -> list[str]:
        return list(pq.read_table(self.folder / "users.parquet").column(USER).to_pylist())

    @cached_property
    def user_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.user_ids)}

    @cached_property
    def first_seen(self) -> Int64s:
        """(V,) seconds; the largest int64 for items that the log lacks."""
        return storage.open_array(self.folder / "first_seen.npy")

    @cached_property
    def labels(self) -> list[str]:
        """Category labels by number."""
        return list(storage.read_json(self.folder / "labels.json"))

    @cached_property
    def categories(self) -> tuple[Int64s, Int32s]:
        """(offsets (V + 1,), labels): item row r has ``labels[offsets[r]:offsets[r + 1]]``, from its first path."""
        return np.load(self.folder / "category_offsets.npy"), np.load(self.folder / "category_labels.npy")

    @cached_property
    def origin(self) -> dict[str, Any]:
        """What the input was: fingerprint, notes, parts of the journal, the folder of its pictures."""
        path = self.folder / ORIGIN
        return dict(storage.read_json(path)) if path.exists() else {}

    @cached_property
    def _picture_spans(self) -> Int64s | None:
        path = self.folder / "picture_spans.npy"
        return storage.open_array(path) if path.exists() else None

    @cached_property
    def _image_folder(self) -> Path | None:
        place = self.origin.get("image_folder")
        return Path(place) if place is not None else None

    @cached_property
    def _image_paths(self) -> list[str | None]:
        return [None, *self.catalogue.column("image").to_pylist()]

    @property
    def has_pictures(self) -> bool:
        return self._picture_spans is not None or self._image_folder is not None

    def picture(self, row: int) -> bytes | None:
        """The picture of item `row` as it was given, not decoded; None where there is none or its path is refused."""
        if self._picture_spans is not None:
            start, length = self._picture_spans[row].tolist()
            if not length:
                return None
            with (self.folder / "pictures.bin").open("rb") as file:
                file.seek(start)
                return file.read(length)
        relative = self._image_paths[row]
        if relative is None or self._image_folder is None:
            return None
        try:
            return read_picture(self._image_folder, relative)
        except InputError:
            return None

    def history(self, user: int) -> Int32s:
        """Items of user row `user`, oldest first."""
        if not 0 <= user < len(self):
            raise IndexError(f"user {user} is not in 0..{len(self) - 1}")
        return self.items[self.offsets[user] : self.offsets[user + 1]]
