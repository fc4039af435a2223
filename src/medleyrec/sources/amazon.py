"""Amazon review folders of 2014, 2018 and 2023, as their authors publish them, recognised by what the files hold.

A log is a file of reviews (.json, .jsonl, also .gz), or of ratings alone (.csv): with the header of 2023, or without
one, where 2014 has user, item, rating, time and 2018 item, user, rating, time. `meta_*` files are the catalogue.
Items of 2023 are products (`parent_asin`), not their variants. Times: whole days until 2018, milliseconds in 2023.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from medleyrec.config import Config
from medleyrec.schema import ITEM, RATING, TIME, USER, CanonicalTables, InputError
from medleyrec.sources import metadata, packed, sql
from medleyrec.sources.assembly import Parts, assembled, existing_folder, pictures_of
from medleyrec.sources.columns import listed_columns
from medleyrec.sources.faults import printable_faults
from medleyrec.sources.files import CSV, kind_of, listed, tables_in
from medleyrec.sources.literals import first_record, lines_of
from medleyrec.sources.staging import Staging, check_broken, text_scan

_OLD = {USER: "reviewerID", ITEM: "asin", RATING: "overall", TIME: "unixReviewTime"}
_NEW = {USER: "user_id", ITEM: "parent_asin", RATING: "rating", TIME: "timestamp"}
_SAMPLE = 1000
_ASIN = re.compile(r"(B[A-Z0-9]{9}|\d{9}[\dX])")
_REVIEWER = re.compile(r"A[A-Z0-9]{10,}")


class AmazonConfig(Config):
    """A folder with the log and the metadata of one generation; several categories are read in name order."""

    folder: Path
    interactions: Path | tuple[Path, ...] | None = None
    """The log, where the folder holds several forms of it."""
    items: Path | tuple[Path, ...] | None = None
    """The metadata; by default the folder's `meta_*` files."""
    images: Path | None = None
    """Pictures: a folder of <item>.jpg, or a Parquet table (item_id, bytes); by default the subfolder `images`."""
    csv_order: Literal["auto", "user,item", "item,user"] = "auto"
    """First two columns of ratings without a header."""


class Reviews(NamedTuple):
    """A log file: its columns by canonical name, and, for ratings without a header, their order."""

    path: Path
    columns: dict[str, str]
    order: tuple[str, ...] | None = None


@printable_faults()
def amazon(connection: duckdb.DuckDBPyConnection, config: AmazonConfig) -> CanonicalTables:
    """Raises InputError where the files do not belong together or a row cannot be used."""
    sql.shut_network(connection)
    found = [_recognised(path, config) for path in _logs(config)]
    others = [f for f in found if f.columns != found[0].columns]
    if others:
        raise InputError(
            f"{found[0].path.name} and {others[0].path.name} are of different generations; keep one in a folder, "
            "or name the log with source.interactions"
        )
    metas = _metas(config)
    staging = Staging(connection)
    logs = [_staged_log(staging, f) for f in found]
    items = [metadata.staged_items(staging, path) for path in metas]
    read = ", ".join(p.name for p in (*(f.path for f in found), *metas))
    parts = Parts(
        log=tuple(path for path, _ in logs),
        columns=found[0].columns,
        originals=(*(f.path for f in found), *metas),
        items=tuple(path for path, _ in items),
        item_columns=metadata.ITEM_COLUMNS,
        images=pictures_of(config.folder, config.images),
        notes=(f"folder {config.folder.name}: read {read}", *(n for _, notes in (*logs, *items) for n in notes)),
    )
    return assembled(staging, parts, kind="amazon", settings=config)


def _logs(config: AmazonConfig) -> tuple[Path, ...]:
    folder = existing_folder(config.folder)
    if config.interactions is not None:
        return listed(config.interactions, what="interactions")
    logs = [p for p in tables_in(folder) if not p.name.startswith("meta_") and kind_of(p) in (CSV, "json")]
    if not logs:
        raise InputError(
            f"{folder} holds no reviews; it needs files such as reviews_Beauty.json.gz, All_Beauty.jsonl.gz or "
            "ratings_Beauty.csv"
        )
    by_category: dict[str, Path] = {}
    for path in logs:
        other = by_category.setdefault(_category(path), path)
        if other != path:
            raise InputError(
                f"{folder} holds {other.name} and {path.name}, two forms of one log; "
                "keep one, or name it with source.interactions"
            )
    return tuple(logs)


def _category(path: Path) -> str:
    """reviews_Beauty_5.json.gz, ratings_Beauty.csv, Beauty.jsonl.gz -> beauty."""
    stem = re.sub(r"(\.(csv|tsv|json|jsonl|ndjson))?(\.(gz|zst))?$", "", path.name.lower())
    return re.sub(r"^(reviews|ratings)_|_\d+(core)?$", "", stem)


def _metas(config: AmazonConfig) -> tuple[Path, ...]:
    if config.items is not None:
        return listed(config.items, what="items")
    return tuple(p for p in tables_in(config.folder) if p.name.startswith("meta_") and kind_of(p) == "json")


def _recognised(path: Path, config: AmazonConfig) -> Reviews:
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty; download it again")
    if kind_of(path) == CSV:
        return _recognised_csv(path, config)
    record, _ = first_record(path)
    for columns in (_NEW, _OLD):
        if columns[USER] in record and columns[ITEM] in record:
            return Reviews(path, columns)
    raise InputError(
        f"{path.name}: its first record has the fields {listed_columns(list(record))}, but reviews have "
        "user_id and parent_asin, or reviewerID and asin; metadata must be named meta_*"
    )


def _recognised_csv(path: Path, config: AmazonConfig) -> Reviews:
    """With a header: 2023. Without: which column holds reviewers is seen from the ids, else from the file's name."""
    text = b"".join(line or b"" for line in lines_of(path, limit=_SAMPLE)).decode("utf-8", errors="replace")
    rows = _rows(text)
    if rows and rows[0][0] == _NEW[USER]:
        return Reviews(path, _NEW)
    if not rows or any(len(row) != 4 for row in rows):
        raise InputError(
            f"{path.name} must have the header user_id,parent_asin,rating,timestamp, or four columns without a header"
        )
    user, item = _OLD[USER], _OLD[ITEM]
    first_is_user = _first_is_user(path, rows, config)
    return Reviews(path, _OLD, (*((user, item) if first_is_user else (item, user)), _OLD[RATING], _OLD[TIME]))


def _rows(text: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        return []


def _first_is_user(path: Path, rows: list[list[str]], config: AmazonConfig) -> bool:
    if config.csv_order != "auto":
        return config.csv_order == "user,item"
    votes = sum(_looks_like_user(first, second) - _looks_like_user(second, first) for first, second, *_ in rows)
    if votes:
        return votes > 0
    if path.name.startswith("ratings_"):
        return True
    raise InputError(
        f"{path.name}: whether users or items come first cannot be told from the ids; "
        'set csv_order = "user,item" or "item,user"'
    )


def _looks_like_user(user: str, item: str) -> bool:
    return _REVIEWER.fullmatch(user) is not None and _ASIN.fullmatch(item) is not None


def _staged_log(staging: Staging, found: Reviews) -> tuple[Path, tuple[str, ...]]:
    path = found.path
    if found.order is not None:
        return staging.write(path, f"SELECT * FROM {text_scan(path, found.order, delimiter=',', quote=chr(34))}"), ()
    if kind_of(path) == CSV:
        return path, ()
    fields = list(found.columns.values())
    types = ", ".join(f"{name}: 'VARCHAR'" for name in fields)
    empty = f"coalesce({', '.join(fields)}) IS NULL"
    scan = (
        f"read_json({sql.exact_path(path)}, format = 'newline_delimited', ignore_errors = true, {packed.option(path)}, "
        f"columns = {{{types}}})"
    )
    staged = staging.write(path, f"SELECT *, {empty} AS broken FROM {scan}")
    query = f"SELECT count(*), count_if(broken) FROM {staging.scan(staged)}"
    total, broken = sql.fetch_one(staging.connection, query, where=path.name)
    notes = check_broken(path, broken=broken, total=total, what="review")
    if broken:
        staged = staging.write(path, f"SELECT * FROM {staging.scan(staged)} WHERE NOT broken")
    return staged, notes
