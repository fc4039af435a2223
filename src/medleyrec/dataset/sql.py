"""DuckDB as the workhorse of preparation: one way to open it, to quote, to stream a query and to see how far it is."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from medleyrec.schema import InputError

Step = Callable[[str, int, int], None]
"""Told the name of a step, how much of it is done, and of how much."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_POLL = 0.25  # seconds


def silent(name: str, done: int, total: int) -> None:
    """The step that tells nobody."""


def connect(*, spill: Path | None = None, memory_limit: str | None = None, threads: int | None = None) -> Any:
    """An in-memory database that fetches no extension and keeps the order of what it reads.

    memory_limit: such as "2GB"; beyond it DuckDB spills into the folder `spill`. threads: by default one per core
    that this process may use.
    """
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": True,
        "enable_progress_bar": True,
        "enable_progress_bar_print": False,
        "TimeZone": "UTC",
        "threads": threads if threads is not None else usable_cores(),
    }
    if spill is not None:
        settings["temp_directory"] = str(spill)
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    connection = duckdb.connect(":memory:")
    for name, value in settings.items():
        try:
            connection.execute(f"SET {name} = {literal(value)}")
        except duckdb.Error:
            if name == "TimeZone":  # needs the icu extension; times are integers by then anyway
                continue
            raise InputError(f"{name} = {value!r} is not accepted; write a size such as 2GB") from None
    return connection


def usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def half_of_memory() -> int | None:
    """Bytes: half of what this machine, or the container that this process runs in, has; None where it is not told."""
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in map(Path, _LIMITS):
        try:
            known.append(int(path.read_text()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return min(known) // 2


@contextmanager
def watched(connection: duckdb.DuckDBPyConnection, step: Step, name: str) -> Iterator[None]:
    """Tell `step` how far the running query is, in percent; each query of the block starts from zero."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(_POLL):
            if (share := connection.query_progress()) >= 0:
                step(name, min(int(share), 99), 100)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        step(name, 100, 100)


def literal(value: object) -> str:
    """A SQL literal; text is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def parquet(path: Path) -> str:
    """SQL that reads one Parquet file, whose name is no pattern; `file_row_number` counts its rows from 0."""
    exact = re.sub(r"[*?\[]", r"[\g<0>]", str(path))
    return f"read_parquet({literal(exact)}, file_row_number = true)"


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return first_row(connection, query)[0]


def first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row. Everything is fetched: an unfinished result would block the connection."""
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def blocks(connection: duckdb.DuckDBPyConnection, query: str, *, rows: int = 1 << 18) -> Iterator[pa.RecordBatch]:
    """The result as Arrow record batches of at most `rows` rows."""
    yield from connection.sql(query).to_arrow_reader(rows)
