"""DuckDB as the workhorse of preparation: one way to open it, to quote, and to stream a query into an array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from medleyrec.schema import InputError


def connect(*, spill: Path | None = None, memory_limit: str | None = None, threads: int | None = None) -> Any:
    """An in-memory database that fetches no extension and keeps the order of what it reads.

    memory_limit: such as "2GB"; beyond it DuckDB spills into the folder `spill`.
    """
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": True,
        "TimeZone": "UTC",
    }
    if spill is not None:
        settings["temp_directory"] = str(spill)
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if threads is not None:
        settings["threads"] = threads
    connection = duckdb.connect(":memory:")
    for name, value in settings.items():
        try:
            connection.execute(f"SET {name} = {literal(value)}")
        except duckdb.Error as error:
            if name == "TimeZone":  # needs the icu extension; times are integers by then anyway
                continue
            raise InputError(f"{name} = {value!r} is not accepted: {str(error).splitlines()[0]}") from None
    return connection


def literal(value: object) -> str:
    """A SQL literal; text is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return first_row(connection, query)[0]


def first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row. Everything is fetched: an unfinished result would block the connection."""
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def blocks(connection: duckdb.DuckDBPyConnection, query: str, *, rows: int = 1 << 18) -> Iterator[pa.RecordBatch]:
    """The result as Arrow record batches of at most `rows` rows."""
    yield from connection.sql(query).to_arrow_reader(rows)


def to_array(connection: duckdb.DuckDBPyConnection, query: str, path: Path, *, dtype: DTypeLike, count: int) -> None:
    """Stream the query's single column of `count` rows into `path` (.npy), never holding it in memory."""
    to_arrays(connection, query, [(path, dtype)], count=count)


def to_arrays(
    connection: duckdb.DuckDBPyConnection, query: str, targets: list[tuple[Path, DTypeLike]], *, count: int
) -> None:
    """Stream the query's columns, in order, into one .npy file each."""
    if count == 0:
        for path, dtype in targets:
            np.save(path, np.zeros(0, dtype))
        return
    arrays: list[NDArray[Any]] = [
        np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(count,)) for path, dtype in targets
    ]
    done = 0
    for block in blocks(connection, query):
        for array, column in zip(arrays, block.columns, strict=True):
            array[done : done + len(block)] = column.to_numpy(zero_copy_only=False)
        done += len(block)
    assert done == count, f"{done} rows came, {count} were announced"
    for array in arrays:
        array.flush()  # type: ignore[attr-defined]
