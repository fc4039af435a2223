"""The catalogue: files of items -> the canonical items, the first row of an item counting.

Without a file, the items are those of the log, with nothing known but their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from medleyrec.schema import (
    BRAND,
    CATEGORIES,
    DESCRIPTION,
    IMAGE,
    ITEM,
    ITEM_COLUMNS,
    PRICE,
    TITLE,
    InputError,
)
from medleyrec.sources import categories, pictures, sql
from medleyrec.sources.categories import Separators
from medleyrec.sources.columns import ITEM_SPELLINGS, find_columns
from medleyrec.sources.faults import quoted
from medleyrec.sources.files import File, open_file
from medleyrec.sources.values import id_text, is_blank, price_of, text_of

_TYPES = {CATEGORIES: "VARCHAR[][]", PRICE: "DOUBLE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """`query` yields the canonical item columns, `image_bytes`, if any, rows of (item_id, bytes, file, row)."""

    query: str
    notes: tuple[str, ...] = ()
    image_bytes: str | None = None
    paths: int = 0
    """How many items name a picture file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFile:
    file: File
    columns: Mapping[str, str]


def without_file(log: str) -> Catalogue:
    """Every item of the log once, in no particular order."""
    unknown = ", ".join(f"CAST(NULL AS {_TYPES.get(c, 'VARCHAR')}) AS {c}" for c in ITEM_COLUMNS[1:])
    return Catalogue(query=f"SELECT {ITEM}, {unknown} FROM (SELECT DISTINCT {ITEM} FROM ({log}))")


def read_items(
    connection: duckdb.DuckDBPyConnection,
    paths: tuple[Path, ...],
    *,
    mapping: Mapping[str, str],
    separators: Separators | None,
) -> Catalogue:
    """Raises InputError for a row without an item id; what is merely odd is counted in the notes."""
    files = [_opened(connection, path, mapping) for path in paths]
    where = ", ".join(p.name for p in paths)
    split, notes = _separators(connection, files, separators)
    query = " UNION ALL ".join(_select(f, split, position=n) for n, f in enumerate(files))
    counts = f"""SELECT count(*), count(DISTINCT {ITEM}), {sql.count_if(f"price_given AND {PRICE} IS NULL")},
        {sql.count_if(f"regexp_matches(path, '{pictures.URL}')")}, count({IMAGE}), {_touch()} FROM ({query})"""
    total, distinct, priceless, remote, local, *_ = sql.fetch_one(connection, counts, where=where)
    if not total:
        raise InputError(f"{where}: a header but no rows; leave `items` out if nothing is known about the items")
    _refuse_nameless(connection, files)
    if total > distinct:
        query = f"SELECT * FROM ({query}) QUALIFY row_number() OVER (PARTITION BY {ITEM} ORDER BY file, row) = 1"
        notes.append(f"items: {total - distinct:,} further rows of items already seen are left out")
    if priceless:
        notes.append(f"price: {priceless:,} values are no single price and are left empty")
    if remote:
        notes.append(f"images: {remote:,} items name a web address; nothing is downloaded")
    return Catalogue(
        query=f"SELECT {', '.join(ITEM_COLUMNS)} FROM ({query})",
        notes=(*_column_notes(files), *notes),
        image_bytes=_image_bytes(files),
        paths=local,
    )


def _opened(connection: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping[str, str]) -> ItemFile:
    file = open_file(connection, path)
    columns = find_columns(
        file.columns, mapping=mapping, spellings=ITEM_SPELLINGS, where=path.name, table="item_columns"
    )
    return ItemFile(file=file, columns=columns)


def _separators(
    connection: duckdb.DuckDBPyConnection, files: list[ItemFile], given: Separators | None
) -> tuple[Separators, list[str]]:
    """Recognise the separators of category text in all files together."""
    texts = [f for f in files if CATEGORIES in f.columns and f.file.type_of(f.columns[CATEGORIES]) == "VARCHAR"]
    if given is not None or not texts:
        return given or Separators(), [categories.told(given)] if given and texts else []
    rows = [
        sql.fetch_one(connection, categories.count_separators(f.file, f.columns[CATEGORIES]), where=f.file.path.name)
        for f in texts
    ]
    total, *seen = (sum(column) for column in zip(*rows, strict=True))
    found = categories.recognised(total, dict(zip(categories.SEPARATORS, seen, strict=True)))
    return found, [categories.told(found)] if total else []


def _select(f: ItemFile, separators: Separators, *, position: int) -> str:
    """The canonical columns, and what the check needs: file, row, the picture path as written, a price written."""
    expressions = {name: _expression(f, name, separators) for name in ITEM_COLUMNS}
    path = _path(f)
    expressions[IMAGE] = f"CASE WHEN NOT regexp_matches({path}, '{pictures.URL}') THEN {path} END"
    written = f"CAST({f.file.reference(f.columns[PRICE])} AS VARCHAR)" if PRICE in f.columns else "NULL"
    checks = {"file": str(position), "row": f.file.row, "path": path, "price_given": f"NOT {is_blank(written)}"}
    return f.file.select(expressions | checks)


def _expression(f: ItemFile, name: str, separators: Separators) -> str:
    column = f.columns.get(name)
    if column is None or name == IMAGE:
        return f"CAST(NULL AS {_TYPES.get(name, 'VARCHAR')})"
    if name == ITEM:
        return id_text(f.file, column)
    if name == CATEGORIES:
        return categories.paths_of(f.file, column, separators)
    return price_of(f.file, column) if name == PRICE else text_of(f.file, column)


def _path(f: ItemFile) -> str:
    """SQL of the picture path as written; bytes and lists are no path."""
    column = f.columns.get(IMAGE)
    if column is None or f.file.type_of(column) != "VARCHAR":
        return "CAST(NULL AS VARCHAR)"
    return text_of(f.file, column)


def _image_bytes(files: list[ItemFile]) -> str | None:
    selects = [
        pictures.bytes_select(f.file, f.columns[ITEM], f.columns[IMAGE], position=n)
        for n, f in enumerate(files)
        if IMAGE in f.columns and pictures.bytes_of(f.file, f.columns[IMAGE])
    ]
    return " UNION ALL ".join(selects) or None


def _touch() -> str:
    """Every column is decoded once, so that a damaged file is found here and not in the middle of a later step."""
    return ", ".join(f"count({name})" for name in (TITLE, DESCRIPTION, BRAND, CATEGORIES))


def _refuse_nameless(connection: duckdb.DuckDBPyConnection, files: list[ItemFile]) -> None:
    for f in files:
        item = id_text(f.file, f.columns[ITEM])
        inner = f.file.select({"row": f.file.row, "bad": is_blank(item)})
        query = f"SELECT row FROM ({inner}) WHERE bad ORDER BY row LIMIT 1"
        if rows := sql.fetch(connection, query, where=f.file.path.name):
            raise InputError(
                f"{f.file.place(rows[0][0])}: column {quoted(f.columns[ITEM])} is empty or no whole number, "
                "but every item needs an id; fill it in or delete the row"
            )


def _column_notes(files: list[ItemFile]) -> list[str]:
    told = dict.fromkeys(", ".join(f"{name} = {quoted(column)}" for name, column in f.columns.items()) for f in files)
    notes = [f"items: columns taken as {columns}" for columns in told]
    odd = [quoted(f.columns[IMAGE]) for f in files if IMAGE in f.columns and _unreadable(f)]
    return notes + [f"images: column {column} holds neither paths nor bytes and is not used" for column in odd]


def _unreadable(f: ItemFile) -> bool:
    column = f.columns[IMAGE]
    return f.file.type_of(column) != "VARCHAR" and pictures.bytes_of(f.file, column) is None
