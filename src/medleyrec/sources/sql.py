"""Text that goes into SQL, quoted, and small answers out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb

from medleyrec.schema import InputError
from medleyrec.sources.faults import complaint

Row = tuple[Any, ...]


def name(identifier: str) -> str:
    """A column or table name as SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string as SQL."""
    return "'" + value.replace("'", "''") + "'"


def count_if(condition: str) -> str:
    """How often; 0 over no rows, where DuckDB's own says NULL."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def exact_path(path: Path) -> str:
    """A path as SQL, with the characters that DuckDB would take for a pattern made literal."""
    return text(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def shut_network(connection: duckdb.DuckDBPyConnection) -> None:
    """Reading a local file must never install or load an extension."""
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")


def doubt_statistics(connection: duckdb.DuckDBPyConnection) -> None:
    """What a Parquet file says of its own columns must not stand for reading them: it may be damaged, or false."""
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")


def fetch(connection: duckdb.DuckDBPyConnection, query: str, *, where: str) -> list[Row]:
    """All rows of a small answer. What DuckDB cannot read becomes an InputError naming `where`."""
    try:
        return connection.execute(query).fetchall()
    except duckdb.Error as error:
        raise InputError(complaint(str(error), where=where)) from None


def fetch_one(connection: duckdb.DuckDBPyConnection, query: str, *, where: str) -> Row:
    return fetch(connection, query, where=where)[0]
