"""Vectors that outlive a dataset: an append-only store keyed by content hash, encoder and revision.

Letters:  n rows asked for   N rows stored   D width

    <store>/<encoder>-<revision>/rows.bin     N records: content hash, reason, checksum of the whole row
                                 vectors.f16  N x D
                                 space.json   how many rows are committed; replaced whole, after the rows are on disk
    <store>/fitted/<encoder>/<key>/           fitted encoders

What lies behind the committed count is the tail of a killed writer: readers do not see it, the next writer cuts it off.
A row without a vector is stored too, with its reason, so that a broken picture is not tried again and again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.index import KEY_BYTES, KeyIndex, Keys
from medleyrec.features.lock import exclusive
from medleyrec.schema import InputError, Int64s, Mask
from medleyrec.storage import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from medleyrec.features.base import Encoder

FORMAT_VERSION = 1
RECORD = np.dtype([("key", np.uint8, (KEY_BYTES,)), ("reason", "<u2"), ("crc", "<u4")])  # reason 0: none, present
HALF = np.dtype("<f2")
MOST_REASONS = 1000
OTHER = "other reasons"


class VectorStore:
    """A folder of spaces, one per encoder revision, and of fitted encoders."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"VectorStore({self.folder})"

    def space(self, encoder: Encoder) -> Space:
        folder = self.folder / f"{encoder.name}-{encoder.revision}"
        return Space(folder, name=encoder.name, revision=encoder.revision, width=encoder.width)

    def fitted(self, name: str, key: str) -> Path | None:
        """The folder of the encoder that was fitted under this key, to be loaded; None where there is none."""
        folder = self._fitted(name, key)
        return folder if folder.is_dir() else None

    def keep_fitted(self, key: str, encoder: Encoder) -> Path:
        """Save a fitted encoder under a key of letters, digits, '.', '_' and '-'; replaces an earlier one."""
        folder = self._fitted(encoder.name, key)
        with atomic_folder(folder) as partial:
            encoder.save(partial)
        return folder

    def _fitted(self, name: str, key: str) -> Path:
        if not key or key.startswith(".") or not key.replace(".", "").replace("-", "").replace("_", "").isalnum():
            raise InputError(f"{key!r} cannot name a fitted encoder: letters, digits, '.', '_' and '-' are allowed")
        return self.folder / "fitted" / name / key


class Space:
    """Vectors of one encoder revision. Readers need no lock; one process writes at a time."""

    def __init__(self, folder: Path, *, name: str, revision: str, width: int) -> None:
        self.folder, self.width = folder, width
        self._identity = {"name": name, "revision": revision, "width": width, "format_version": FORMAT_VERSION}
        self._writers = 0
        self._read()

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Space({self.folder.name}: {len(self)} x {self.width})"

    def lookup(self, keys: Keys) -> Int64s:
        """(n, 16) content hashes -> (n,) rows, -1 where a key is not stored."""
        return self._index.rows(keys)

    def append(self, keys: Keys, vectors: NDArray[Any], reasons: Sequence[str | None]) -> None:
        """Commit rows (n, D); when this returns they survive a kill. Keys that are stored already keep their row."""
        if not len(keys) == len(vectors) == len(reasons):
            raise ValueError(f"unequal columns: {len(keys)=}, {len(vectors)=}, {len(reasons)=}")
        with self.writing():
            fresh = self._fresh(keys)
            if len(fresh):
                self._write(keys[fresh], self._halves(vectors[fresh]), [reasons[i] for i in fresh])

    def gather(self, rows: Int64s) -> NDArray[np.float16]:
        """(n,) rows -> (n, D), zero where the content is missing. Raises InputError where the file is damaged."""
        if not len(rows):
            return np.zeros((0, self.width), HALF)
        vectors = np.ascontiguousarray(self._vectors[rows])
        records = self._records[rows]
        bad = np.flatnonzero(_checksums(records, vectors) != records["crc"])
        if len(bad):
            raise InputError(f"{self.folder} is damaged at row {rows[bad[0]]}; delete this folder and encode again")
        return vectors

    def reasons(self, rows: Int64s) -> list[str | None]:
        """Why each row is missing, None where it is present."""
        return [self._reasons[code - 1] if code else None for code in self._codes(rows).tolist()]

    def present(self, rows: Int64s) -> Mask:
        return np.asarray(self._codes(rows) == 0)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock over several appends. Raises InputError where another process holds it."""
        if self._writers:
            self._writers += 1
            try:
                yield
            finally:
                self._writers -= 1
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / "lock"):
            self._read()  # another process may have written since
            self._cut_tail()
            self._writers = 1
            try:
                yield
            finally:
                self._writers = 0

    @property
    def _paths(self) -> tuple[tuple[Path, np.dtype[Any]], ...]:
        row = np.dtype((HALF, (self.width,)))
        return (self.folder / "rows.bin", RECORD), (self.folder / "vectors.f16", row)

    def _read(self) -> None:
        state: dict[str, Any] = {**self._identity, "count": 0, "reasons": []}
        if (self.folder / "space.json").exists():
            state = read_json(self.folder / "space.json")
        if {k: state.get(k) for k in self._identity} != self._identity:
            raise InputError(f"{self.folder} was written by another version; delete this folder and encode again")
        self._count, self._reasons = int(state["count"]), list(state["reasons"])
        self.remap()
        self._index = KeyIndex(self._records["key"])

    def remap(self) -> None:
        """Map the committed rows anew; the memory of what was read is let go."""
        mapped = []
        for path, dtype in self._paths:
            size = path.stat().st_size if path.exists() else 0
            if size < self._count * dtype.itemsize:
                raise InputError(
                    f"{path} is shorter than its {self._count} rows; delete {self.folder} and encode again"
                )
            mapped.append(np.memmap(path, dtype, "r", shape=self._count) if self._count else np.zeros(0, dtype))
        self._records, self._vectors = mapped  # (N,), (N, D)

    def _cut_tail(self) -> None:
        for path, dtype in self._paths:
            with path.open("ab") as file:
                file.truncate(self._count * dtype.itemsize)

    def _fresh(self, keys: Keys) -> Int64s:
        """Positions of the keys that are not stored yet, the first of equal ones, in order."""
        first = np.unique(keys, axis=0, return_index=True)[1]
        return np.sort(first[self.lookup(keys[first]) < 0])

    def _halves(self, vectors: NDArray[Any]) -> NDArray[np.float16]:
        limit = np.finfo(np.float16).max
        bad = np.argwhere(~(np.abs(vectors) <= limit))  # NaN too
        if len(bad):
            value = vectors[tuple(bad[0])]
            raise InputError(f"{self._identity['name']} gave the value {value:g}, float16 holds up to {limit:g}")
        return vectors.astype(HALF)

    def _write(self, keys: Keys, halves: NDArray[np.float16], reasons: list[str | None]) -> None:
        records = np.zeros(len(keys), RECORD)
        known = list(self._reasons)
        records["key"], records["reason"] = keys, [_code(r, known) for r in reasons]
        halves[records["reason"] > 0] = 0
        records["crc"] = _checksums(records, halves)
        for (path, _), rows in zip(self._paths, (records, halves), strict=True):
            _add(path, rows)
        count = self._count + len(keys)
        write_json(self.folder / "space.json", {**self._identity, "count": count, "reasons": known})
        self._count, self._reasons = count, known
        self.remap()
        self._index.add(keys)

    def _codes(self, rows: Int64s) -> NDArray[np.uint16]:
        return np.asarray(self._records["reason"][rows])


def _checksums(records: NDArray[Any], vectors: NDArray[np.float16]) -> NDArray[np.uint32]:
    """(n,) of key and reason, then of the vector (n, D), which lies in one piece."""
    heads, size = memoryview(records.tobytes()), RECORD.itemsize
    bodies, width = memoryview(vectors.data).cast("B"), vectors.shape[1] * HALF.itemsize
    sums = (
        zlib.crc32(bodies[i * width : (i + 1) * width], zlib.crc32(heads[i * size : i * size + KEY_BYTES + 2]))
        for i in range(len(records))
    )
    return np.fromiter(sums, np.uint32, len(records))


def _code(reason: str | None, known: list[str]) -> int:
    """0 for none, else the reason's place in `known`, counted from 1; new reasons join it."""
    if reason is None:
        return 0
    reason = reason if reason in known or len(known) < MOST_REASONS else OTHER
    if reason not in known:
        known.append(reason)
    return known.index(reason) + 1


def _add(path: Path, rows: NDArray[Any]) -> None:
    with path.open("ab") as file:
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())
