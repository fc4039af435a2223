"""Files of rows (CSV, TSV, Parquet, JSON lines; .gz and .zst too) as SQL that reads them lazily.

Text formats give every column as VARCHAR, exactly as written: nothing is guessed from a value, `007` stays `007`.
Row numbers count from 1 inside each file, in file order. For text formats they come from a streaming
`row_number() OVER ()`, which needs the connection's `preserve_insertion_order` (DuckDB's default).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from medleyrec.schema import InputError
from medleyrec.sources import packed, sql
from medleyrec.sources.faults import quoted
from medleyrec.sources.packed import COMPRESSED, text_head

CSV, JSON, PARQUET = "csv", "json", "parquet"
_KINDS = {
    ".csv": CSV,
    ".tsv": CSV,
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
}
_DELIMITERS = (",", "\t", ";", "|")
MOST_COLUMNS, LONGEST_NAME = 10_000, 10_000
_LONGEST_PATH = 200
MANY_ROWS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file: its columns with their DuckDB types, and the SQL table function that reads it."""

    path: Path
    kind: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    scan: str

    def __repr__(self) -> str:
        return f"File({self.path.name}: {', '.join(map(' '.join, zip(self.columns, self.types, strict=True)))})"

    @property
    def row(self) -> str:
        """SQL of the row number, from 1."""
        return "(file_row_number + 1)" if self.kind == PARQUET else "row_number() OVER ()"

    def type_of(self, column: str) -> str:
        return self.types[self.columns.index(column)]

    def reference(self, column: str) -> str:
        """SQL of a column. CSV columns are read by position, so that no header can confuse the SQL."""
        return f"c{self.columns.index(column)}" if self.kind == CSV else sql.name(column)

    def told(self, column: str) -> str:
        """Which column of which file, and its type, cut short."""
        return f"{self.path.name}: column {quoted(column)} ({self.type_of(column)[:40]})"

    def place(self, row: int) -> str:
        """Where a person finds a row."""
        if self.kind == CSV:
            return f"{self.path.name}, data row {row} (line {row + 1} with the header)"
        return f"{self.path.name}, {'record' if self.kind == JSON else 'row'} {row}"

    def select(self, expressions: Mapping[str, str]) -> str:
        told = ", ".join(f"{expression} AS {sql.name(alias)}" for alias, expression in expressions.items())
        return f"SELECT {told} FROM {self.scan}"


def kind_of(path: Path) -> str | None:
    """csv, json, parquet, or None for a file that is not a table."""
    suffixes = [s.lower() for s in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSED:
        kind = _KINDS.get(suffixes[0]) if len(suffixes) == 2 else None
        return None if kind == PARQUET else kind
    return _KINDS.get(suffixes[-1]) if suffixes else None


def is_remote(path: Path) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.\-]+:/", str(path)) is not None


def refuse_remote(path: Path) -> None:
    if is_remote(path):
        address = re.sub(":/+", "://", str(path), count=1)
        raise InputError(f"{address} is a remote address; download it first and give the path of the local copy")


def tables_in(folder: Path) -> list[Path]:
    """The tables directly inside a folder, in name order; hidden files are left alone."""
    return sorted(
        (p for p in folder.iterdir() if _is(p.is_file) and p.name[0] not in "._" and kind_of(p)), key=lambda p: p.name
    )


def listed(paths: Path | Sequence[Path], *, what: str) -> tuple[Path, ...]:
    """The files behind a setting: a file, a folder or several of them, in name order. `what` names the setting."""
    given = (paths,) if isinstance(paths, Path) else tuple(paths)
    if not given:
        raise InputError(f"{what} is empty; name at least one file")
    files = [file for path in given for file in _behind(path, what)]
    files.sort(key=lambda p: (p.name, str(p)))
    seen: set[Path] = set()
    for file in files:
        if file.resolve() in seen:
            raise InputError(f"{what} names {file} twice; name each file once")
        seen.add(file.resolve())
    return tuple(files)


def _behind(path: Path, what: str) -> list[Path]:
    refuse_remote(path)
    if is_folder(path):
        if found := tables_in(path):
            return found
        raise InputError(f"{what}: no table in the folder {path}; it needs {_formats()} files")
    if not _is(path.is_file):
        if _is(path.exists):
            raise InputError(f"{what}: {path} is a device, a pipe or a socket; give an ordinary file")
        shown = str(path) if len(str(path)) < _LONGEST_PATH else quoted(str(path), _LONGEST_PATH)
        raise InputError(f"{what}: {shown} does not exist; give the path of a file or of a folder")
    if kind_of(path) is None:
        raise InputError(f"{what}: {path.name} is of an unknown kind; it must end in {_formats()}")
    return [path]


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_folder(path: Path) -> bool:
    return _is(path.is_dir)


def _is(test: Callable[[], bool]) -> bool:
    """False too for what cannot be looked at: a name too long, a loop of links, a folder that is closed to us."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _formats() -> str:
    return f"{', '.join(_KINDS)} (all but Parquet also with {' or '.join(COMPRESSED)})"


def open_file(connection: duckdb.DuckDBPyConnection, path: Path) -> File:
    """Look at the header only."""
    if not str(path).isprintable() and not _is_utf8(path):
        raise InputError(f"{path.name} has a name that is not UTF-8; rename it")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty; it needs rows with a user, an item and a time, or items")
    kind = kind_of(path)
    if kind == CSV:
        return _open_csv(path)
    if kind == JSON:
        return _open_json(connection, path)
    return _open_parquet(connection, path)


def _open_csv(path: Path) -> File:
    head = text_head(path)
    tsv = ".tsv" in [s.lower() for s in path.suffixes]
    rows = {d: _first_row(head, d) for d in _DELIMITERS}
    delimiter = "\t" if tsv else max(_DELIMITERS, key=lambda d: len(rows[d]))
    columns = tuple(c.strip() for c in rows[delimiter])
    _check_names(path, columns)
    types = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(columns)))
    scan = (
        f"read_csv({sql.exact_path(path)}, {packed.option(path)}, auto_detect = false, header = true, "
        f"delim = {sql.text(delimiter)}, quote = '\"', escape = '\"', columns = {{{types}}})"
    )
    return File(path=path, kind=CSV, columns=columns, types=("VARCHAR",) * len(columns), scan=scan)


def _first_row(head: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    except csv.Error:  # a field of more than 128 KiB
        return [head]


def _check_names(path: Path, columns: tuple[str, ...]) -> None:
    if not columns:
        raise InputError(f"{path.name} begins with an empty line; its first line must name the columns")
    longest = max(map(len, columns))
    if len(columns) > MOST_COLUMNS or longest > LONGEST_NAME:
        raise InputError(
            f"{path.name} has a first line that names no columns: it has {len(columns):,} fields, the longest of "
            f"{longest:,} characters; put a line with the names of the columns on top, and close its quotes"
        )


def _open_json(connection: duckdb.DuckDBPyConnection, path: Path) -> File:
    text_head(path)
    plain = ".json" in [s.lower() for s in path.suffixes]
    shape = "auto" if plain else "newline_delimited"
    start = f"read_json({sql.exact_path(path)}, {packed.option(path)}, format = '{shape}', records = true"
    described = sql.fetch(connection, f"DESCRIBE SELECT * FROM {start}, maximum_depth = 1)", where=path.name)
    columns = tuple(row[0] for row in described)
    types = ", ".join(f"{sql.text(c)}: 'VARCHAR'" for c in columns)
    scan = f"{start}, columns = {{{types}}})"
    return File(path=path, kind=JSON, columns=columns, types=("VARCHAR",) * len(columns), scan=scan)


def _open_parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> File:
    scan = f"read_parquet({sql.exact_path(path)}, file_row_number = true)"
    described = sql.fetch(connection, f"DESCRIBE SELECT * FROM {scan}", where=path.name)
    _refuse_repeated(connection, path)
    types = {r[0]: r[1] for r in described if r[0] != "file_row_number"}
    return File(path=path, kind=PARQUET, columns=tuple(types), types=tuple(types.values()), scan=scan)


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """One value said once can stand for billions of rows; a log or a catalogue needs more than a bit for each."""
    query = f"SELECT sum(num_rows) FROM parquet_file_metadata({sql.exact_path(path)})"
    rows = sql.fetch_one(connection, query, where=path.name)[0] or 0
    if rows > MANY_ROWS and rows > 8 * path.stat().st_size:
        raise InputError(
            f"{path.name} holds {rows:,} rows in {path.stat().st_size:,} bytes, as no log or catalogue does; "
            "write it anew if it is genuine"
        )
