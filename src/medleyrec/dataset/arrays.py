"""Arrays larger than memory: .npy files written and read in blocks, Parquet written in blocks of one size.

Memory maps are left to those who look up single entries: pages of a map that was walked from end to end count as
memory of the process for as long as nobody else wants them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, DTypeLike, NDArray

from medleyrec.schema import InputError

BLOCK = 1 << 20  # entries that are in memory at once
_GROUP = 1 << 16  # rows of a Parquet row group: equal rows give equal bytes, however they arrived


class ArrayWriter:
    """One flat .npy file. Its length is known when it is closed; entries that were never put are zero."""

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.count = 0
        self.file = path.open("wb")
        self.start = self._head()

    def _head(self) -> int:
        """The header, whose size leaves room for any length; returns where the entries begin."""
        self.file.seek(0)
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self.file, described)
        return self.file.tell()

    def append(self, values: ArrayLike) -> None:
        self.put(self.count, values)

    def put(self, at: int, values: ArrayLike) -> None:
        """Write `values` to entries at, at + 1, ..."""
        entries = np.ascontiguousarray(values, self.dtype)
        self.file.seek(self.start + at * self.dtype.itemsize)
        self.file.write(entries.data)
        self.count = max(self.count, at + len(entries))

    def close(self, count: int | None = None) -> None:
        """Finish the file, with `count` entries where the last ones were not put."""
        self.count = self.count if count is None else count
        assert self._head() == self.start
        self.file.flush()
        self.file.truncate(self.start + self.count * self.dtype.itemsize)
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close() if kind is None else self.file.close()


class ArrayReader:
    """One flat .npy file, read in slices."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
                self.start = file.tell()
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); prepare again from the input files") from None
        self.count = int(shape[0])

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> NDArray[Any]:
        offset = self.start + start * self.dtype.itemsize
        entries = np.fromfile(self.path, self.dtype, stop - start, offset=offset)
        if len(entries) < stop - start:
            raise InputError(f"{self.path} is cut off; prepare again from the input files")
        return entries


def spans(start: int, stop: int, *, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """[start, stop) in pieces."""
    for at in range(start, stop, size):
        yield at, min(at + size, stop)


def hash_range(path: Path, start: int, stop: int, *, nothing: float | None = None) -> tuple[bytes, bool]:
    """Hash of the entries [start, stop) of a .npy file, and whether any of them differs from `nothing`."""
    digest, column, said = hashlib.blake2b(digest_size=16), ArrayReader(path), nothing is None
    for a, b in spans(start, stop):
        entries = column.read(a, b)
        digest.update(entries.data)
        said = said or not bool((np.isnan(entries) if nothing != nothing else entries == nothing).all())
    return digest.digest(), said


def write_parquet(path: Path, tables: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema) -> int:
    """Write rows in row groups of one size, whatever the sizes in which they come; returns how many there were."""
    rows, waiting, size = 0, [schema.empty_table()], 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            waiting.append(pa.table(table).cast(schema))
            size += len(table)
            if size >= _GROUP:
                together, whole = pa.concat_tables(waiting).combine_chunks(), size - size % _GROUP
                for at in range(0, whole, _GROUP):
                    writer.write_table(together.slice(at, _GROUP))
                waiting, size, rows = [together.slice(whole)], size - whole, rows + whole
        if size or not rows:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
    return rows + size
