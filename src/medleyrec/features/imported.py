"""Vectors that were made elsewhere: read, checked, and kept by item id as an encoder whose contents are the ids.

Letters:  n vectors   D width

A vector belongs to an item by its external id, so that another split, or a dataset prepared anew, finds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medleyrec.config import Config
from medleyrec.features.base import (
    Encoded,
    Progress,
    Vectors,
    check_revision,
    load_state,
    read_facts,
    revision_of,
    save_state,
    unit_rows,
)
from medleyrec.schema import TEXT, InputError
from medleyrec.storage import read_json, write_json

NO_VECTOR, ZERO = "no vector", "all numbers are zero"
IDS_FILE = "ids.json"
WIDEST = 65_536
BLOCK = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Rows as a file holds them, checked: as many ids as rows, no id twice, every number finite."""

    ids: list[str]
    vectors: NDArray[Any]  # (n, D)

    def __post_init__(self) -> None:
        _check_shape(self.vectors)
        if len(self.ids) != len(self.vectors):
            raise InputError(
                f"there are {len(self.vectors):,} vectors and {len(self.ids):,} ids; give one id for each vector, in "
                "their order"
            )
        _check_ids(self.ids)
        _check_numbers(self.ids, self.vectors)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Given({len(self)} x {self.vectors.shape[1]})"


class ImportedConfig(Config):
    """There is nothing to choose."""


class ImportedEncoder:
    """Content is an item's external id; an id without a vector is missing."""

    kind: ClassVar[str] = "imported"
    modality: ClassVar[str] = TEXT
    settings: ClassVar[type[Config]] = ImportedConfig

    def __init__(self, label: str, ids: Sequence[str], vectors: NDArray[np.float16]) -> None:
        self.label, self.ids, self.vectors = label, list(ids), vectors  # (n, D) of norm 1, or zero

    @classmethod
    def of(cls, label: str, given: Given) -> Self:
        return cls(label, given.ids, _unit_halves(given.vectors))

    def __repr__(self) -> str:
        return f"ImportedEncoder({self.label}: {len(self.ids)} x {self.width})"

    @property
    def name(self) -> str:
        return imported_name(self.label)

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    @cached_property
    def revision(self) -> str:
        return revision_of(self.name, {}, {"vectors": self.vectors}, self.ids)

    @property
    def origin(self) -> dict[str, Any]:
        return {"imported": self.label, "count": len(self.ids)}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        rows = [self._rows.get(content.decode("utf-8", errors="replace"), -1) for content in contents]
        vectors = np.zeros((len(contents), self.width), np.float32)
        found = [i for i, row in enumerate(rows) if row >= 0]
        vectors[found] = self.vectors[[rows[i] for i in found]]
        shows: list[bool] = np.asarray(vectors.any(axis=1)).tolist()
        reasons = [NO_VECTOR if row < 0 else (None if some else ZERO) for row, some in zip(rows, shows, strict=True)]
        return Encoded(vectors, tuple(reasons))

    @classmethod
    def fit(  # the contract's arguments
        cls,
        contents: Sequence[bytes | None],  # noqa: ARG003
        config: Any = None,  # noqa: ARG003
        *,
        progress: Progress | None = None,  # noqa: ARG003
    ) -> Self:
        raise InputError("imported vectors are not fitted; import them with `medley vectors`")

    def save(self, folder: Path) -> None:
        facts = {"kind": self.kind, "name": self.name, "label": self.label, "revision": self.revision}
        save_state(folder, facts, {"vectors": self.vectors})
        write_json(folder / IDS_FILE, self.ids)

    @classmethod
    def load(cls, folder: Path) -> Self:
        facts, arrays = load_state(folder, str(read_facts(folder).get("name")))
        encoder = cls(str(facts["label"]), read_json(folder / IDS_FILE), arrays["vectors"])
        check_revision(folder, facts, encoder.revision)
        return encoder


def imported_name(label: str) -> str:
    """Raises InputError for a label that cannot name a folder."""
    if not label or not label.replace(".", "").replace("-", "").replace("_", "").isalnum() or not label.isascii():
        raise InputError(f"{label!r} cannot name vectors: letters, digits, '.', '_' and '-' are allowed; give --name")
    return f"imported-{label}"


def _check_shape(vectors: NDArray[Any]) -> None:
    if vectors.ndim != 2:
        raise InputError(f"the vectors have the shape {vectors.shape}; a table of (items, numbers) is needed")
    count, width = vectors.shape
    if not count or not 1 <= width <= WIDEST:
        raise InputError(f"the vectors have the shape {vectors.shape}; 1 to {WIDEST:,} numbers per item are needed")
    if vectors.dtype.kind not in "fiu":
        raise InputError(f"the vectors are of type {vectors.dtype}; floating point or whole numbers are needed")


def _check_ids(ids: list[str]) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(ids, start=1):
        if not name:
            raise InputError(f"the id in row {row} is empty; fill it in or leave the row out")
        if not _is_text(name):
            raise InputError(f"the id {name!r} in row {row} is no valid Unicode; no item has it: leave it out")
        if name in first:
            raise InputError(f"the id {name!r} is there twice, in rows {first[name]} and {row}; leave one of them out")
        first[name] = row


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_numbers(ids: list[str], vectors: NDArray[Any]) -> None:
    for start in range(0, len(vectors), BLOCK):
        bad = np.argwhere(~np.isfinite(vectors[start : start + BLOCK]))
        if len(bad):
            row, column = bad[0].tolist()
            raise InputError(
                f"the vector of item {ids[start + row]!r} (row {start + row + 1}) holds "
                f"{vectors[start + row, column]} at place {column + 1}; mend it or leave the item out"
            )


def _unit_halves(vectors: NDArray[Any]) -> NDArray[np.float16]:
    halves = np.empty(vectors.shape, np.float16)
    for start in range(0, len(vectors), BLOCK):
        block = np.asarray(vectors[start : start + BLOCK], np.float64)
        peaks = np.abs(block).max(axis=1, keepdims=True)
        peaks[peaks == 0] = 1  # divided by first, so that squares of very large or small numbers stay finite
        scaled: Vectors = unit_rows((block / peaks).astype(np.float32))
        halves[start : start + BLOCK] = scaled
    return halves
