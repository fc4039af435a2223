"""Pictures of items: a folder of `<item_id>.jpg`, paths in the items file, or bytes in a table.

Nothing is ever downloaded, and no path may lead out of the named folder.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import duckdb

from medleyrec.schema import IMAGE, ITEM, InputError
from medleyrec.sources import sql
from medleyrec.sources.columns import ITEM_SPELLINGS, find_columns, listed_columns
from medleyrec.sources.faults import quoted
from medleyrec.sources.files import PARQUET, File, open_file
from medleyrec.sources.values import id_text, is_blank
from medleyrec.storage import hash_bytes

SUFFIXES = ("jpg", "jpeg", "png", "webp")
URL = "^([A-Za-z][A-Za-z0-9+.-]+:)?//|^data:"
OUTSIDE = r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)"
_STRUCT_BYTES = re.compile(r'STRUCT\(.*?"?bytes"? BLOB', re.I)
_BATCH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Where pictures come from: bytes (query yields item_id, bytes), or files of a folder."""

    query: str | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()


class Inspected(NamedTuple):
    """What lies at the paths that the items name."""

    digest: str = ""
    """Of paths, sizes and times of change."""
    special: tuple[str, ...] = ()
    """Paths that name no ordinary file; opening one could wait for ever."""
    notes: tuple[str, ...] = ()


def safe_path(folder: Path, relative: str) -> Path:
    """The file that `relative` names inside `folder`. Raises InputError for what is absolute or leads out of it."""
    root = folder.resolve()
    unusable = not relative.strip() or "\0" in relative
    absolute = PureWindowsPath(relative).drive or relative.startswith(("/", "\\"))
    target = root if unusable or absolute else _resolved(root / relative)
    if target == root or not target.is_relative_to(root):
        raise InputError(
            f"the picture path {quoted(relative)} does not stay inside {folder}; "
            "write paths relative to that folder, or name another folder as `images`"
        )
    return target


def _resolved(path: Path) -> Path:
    """As it is where it cannot be followed, such as a link to itself."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def bytes_of(file: File, column: str) -> str | None:
    """SQL of a picture's bytes, where the column holds them: a BLOB, or a struct with `bytes`; else None."""
    kind, reference = file.type_of(column), file.reference(column)
    if kind == "BLOB":
        return reference
    return f"{reference}['bytes']" if _STRUCT_BYTES.match(kind) else None


def bytes_from_table(
    connection: duckdb.DuckDBPyConnection, paths: tuple[Path, ...], mapping: Mapping[str, str]
) -> Pictures:
    """A separate table (item_id, the first column with bytes); the first picture of an item counts."""
    selects = [_table_select(open_file(connection, path), mapping, position=n) for n, path in enumerate(paths)]
    return first_bytes(connection, " UNION ALL ".join(selects), where=", ".join(p.name for p in paths))


def _table_select(file: File, mapping: Mapping[str, str], *, position: int) -> str:
    known = {ITEM: ITEM_SPELLINGS[ITEM]}
    wanted = {ITEM: mapping[ITEM]} if mapping.get(ITEM) in file.columns else {}
    columns = find_columns(file.columns, mapping=wanted, spellings=known, where=file.path.name, table="item_columns")
    holding = [c for c in file.columns if bytes_of(file, c)] if file.kind == PARQUET else []
    if not holding:
        raise InputError(
            f"{file.path.name} has no column with picture bytes; it must be Parquet with a binary column "
            f"(its columns are: {listed_columns(file.columns)})"
        )
    return bytes_select(file, columns[ITEM], holding[0], position=position)


def bytes_select(file: File, item: str, column: str, *, position: int) -> str:
    picture = bytes_of(file, column)
    columns = {ITEM: id_text(file, item), "bytes": picture or "NULL", "file": str(position), "row": file.row}
    return f"SELECT * FROM ({file.select(columns)}) WHERE bytes IS NOT NULL"


def first_bytes(connection: duckdb.DuckDBPyConnection, rows: str, *, where: str) -> Pictures:
    """Pictures from rows of (item_id, bytes, file, row)."""
    counts = f"SELECT count(*), count(DISTINCT {ITEM}), {sql.count_if(is_blank(ITEM))} FROM ({rows})"
    total, items, nameless = sql.fetch_one(connection, counts, where=where)
    notes = [f"images: {items:,} items have a picture as bytes in {where}"]
    query = f"SELECT {ITEM}, bytes FROM ({rows}) WHERE NOT {is_blank(ITEM)}"
    if nameless:
        notes.append(f"images: {nameless:,} pictures in {where} have no item id and are left out")
    if total - nameless > items:
        query += f" QUALIFY row_number() OVER (PARTITION BY {ITEM} ORDER BY file, row) = 1"
        notes.append(f"images: {total - nameless - items:,} further pictures of the same items are left out")
    return Pictures(query=query, notes=tuple(notes))


def has_pictures(folder: Path) -> bool:
    return any(p.suffix.lower().lstrip(".") in SUFFIXES for p in folder.iterdir())


def named_by_item(folder: Path) -> str:
    """SQL of (item_id, image) for the files `<item_id>.<suffix>` of a folder; .jpg goes before .png before .webp."""
    pattern = sql.exact_path(folder)[:-1] + "/*'"
    parts = (
        f"SELECT parse_filename(file) AS name, regexp_extract(file, '[.]([^.]*)$', 1) AS suffix FROM glob({pattern})"
    )
    known = "[" + ", ".join(map(sql.text, SUFFIXES)) + "]"
    return (
        f"SELECT left(name, len(name) - len(suffix) - 1) AS {ITEM}, "
        f"arg_min(name, (list_position({known}, lower(suffix)), name)) AS {IMAGE} "
        f"FROM ({parts}) WHERE lower(suffix) IN {known} GROUP BY ALL"
    )


def inspect(connection: duckdb.DuckDBPyConnection, items: str, folder: Path) -> Inspected:
    """Look at every picture file that the items name, without opening any."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT DISTINCT {IMAGE} FROM ({items}) WHERE {IMAGE} IS NOT NULL ORDER BY {IMAGE}")
    digest, found, outside, missing, special = "", 0, 0, 0, []
    while batch := cursor.fetchmany(_BATCH):
        told = [(relative, _stat(folder, relative)) for (relative,) in batch]
        outside += sum(state == "outside" for _, state in told)
        missing += sum(state == "missing" for _, state in told)
        special += [relative for relative, state in told if state == "special"]
        found += len(told)
        digest = hash_bytes(digest.encode(), *(f"{relative}\n{state}".encode() for relative, state in told))
    cursor.close()
    notes = [f"images: {found - outside - missing - len(special):,} picture files in {folder.name}/"]
    if outside:
        notes.append(f"images: {outside:,} paths are absolute or lead out of {folder.name}/ and will not be read")
    if missing:
        notes.append(f"images: {missing:,} picture files are named in the items but not in {folder.name}/")
    if special:
        notes.append(f"images: {len(special):,} paths name a folder, a pipe or a device and will not be read")
    return Inspected(digest=digest, special=tuple(special), notes=tuple(notes))


def without(items: str, special: tuple[str, ...]) -> str:
    """The items without these paths. SQL text cannot hold NUL, so that paths with it are named by the character."""
    if not special:
        return items
    paths = ", ".join(sql.text(p) for p in special if "\0" not in p) or "NULL"
    kept = f"NOT coalesce({IMAGE} IN ({paths}) OR contains({IMAGE}, chr(0)), false)"
    return f"SELECT * REPLACE (CASE WHEN {kept} THEN {IMAGE} END AS {IMAGE}) FROM ({items})"


def _stat(folder: Path, relative: str) -> str:
    if "\0" in relative:
        return "special"
    try:
        found = safe_path(folder, relative).stat()
    except InputError:
        return "outside"
    except OSError as error:
        return "special" if error.errno == errno.ELOOP else "missing"
    return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else "special"
