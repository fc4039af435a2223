"""MicroLens folders: `*_pairs.csv` (user,item,timestamp in milliseconds), titles, and a folder of covers.

Titles are lines of `item,title` with or without a header; a title's commas and quotes are often not protected, so a
line is cut at its first comma. `*_pairs.tsv` has the order of a user's items but no times.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from medleyrec.config import Config
from medleyrec.schema import ITEM, TIME, TITLE, USER, CanonicalTables, InputError
from medleyrec.sources import sql
from medleyrec.sources.assembly import Parts, assembled, existing_folder, pictures_of
from medleyrec.sources.faults import printable_faults
from medleyrec.sources.staging import Staging, check_broken, text_scan

_COLUMNS = {USER: "user", ITEM: "item", TIME: "timestamp"}
_ITEM_COLUMNS = {ITEM: "item", TITLE: "title"}
_WHOLE_LINE = "\x01"
"""A delimiter that no title holds, so that a line is one column."""


class MicrolensConfig(Config):
    """One MicroLens folder."""

    folder: Path
    items: Path | None = None
    """The titles, where the folder holds several files of them."""
    images: Path | None = None
    """Covers: a folder of <item>.jpg, or a Parquet table (item_id, bytes); by default a subfolder `*covers`."""
    order_as_time: bool = False
    """Read `*_pairs.tsv`, the place of an item in its user's list standing for its time in seconds."""


@printable_faults()
def microlens(connection: duckdb.DuckDBPyConnection, config: MicrolensConfig) -> CanonicalTables:
    """Raises InputError where files are missing or a row cannot be used."""
    sql.shut_network(connection)
    folder = existing_folder(config.folder)
    log = _log(folder, config)
    titles = _titles(folder, config)
    staging = Staging(connection)
    listed, notes = _staged_titles(staging, titles) if titles else (None, ())
    timeless = log.suffix == ".tsv"
    parts = Parts(
        log=(_staged_lists(staging, log) if timeless else log,),
        columns=_COLUMNS,
        originals=(log, *((titles,) if titles else ())),
        items=(listed,) if listed else (),
        item_columns=_ITEM_COLUMNS,
        images=pictures_of(folder, config.images),
        notes=(
            f"folder {folder.name}: read {log.name}{f', {titles.name}' if titles else ''}",
            *((f"{log.name} has no times: the place in a user's list stands for them",) if timeless else ()),
            *notes,
        ),
    )
    return assembled(staging, parts, kind="microlens", settings=config)


def _log(folder: Path, config: MicrolensConfig) -> Path:
    ending = "pairs.tsv" if config.order_as_time else "pairs.csv"
    log = _only(folder, ending, "keep one data set in a folder")
    if log is not None:
        return log
    if not config.order_as_time and (other := _only(folder, "pairs.tsv", "keep one data set in a folder")):
        raise InputError(
            f"{other.name} holds the order of items but no times; put the file *_pairs.csv of the same data set beside "
            "it, or set order_as_time = true to do without times"
        )
    raise InputError(f"{folder} holds no file *_{ending}; name the folder of a MicroLens data set")


def _only(folder: Path, ending: str, fix: str) -> Path | None:
    found = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(ending))
    if len(found) > 1:
        raise InputError(f"{folder} holds {found[0].name} and {found[1].name}; {fix}")
    return found[0] if found else None


def _titles(folder: Path, config: MicrolensConfig) -> Path | None:
    if config.items is None:
        fix = "name one with source.items"
        endings = ("titles.csv", "title_en.csv", "title.csv")
        return next((path for ending in endings if (path := _only(folder, ending, fix))), None)
    if not config.items.is_file():
        raise InputError(f"items: {config.items} does not exist")
    return config.items


def _staged_titles(staging: Staging, path: Path) -> tuple[Path, tuple[str, ...]]:
    """Lines that do not begin with an item number are counted; a header is none of them."""
    scan = text_scan(path, ("line",), delimiter=_WHOLE_LINE)
    numbered = f"SELECT line, row_number() OVER () AS row FROM {scan}"
    cut = r"""regexp_extract(line, '^\s*"?(\d+)"?\s*,(.*)$', ['item', 'title'])"""
    raw = staging.write(path, f"SELECT row, line, {cut} AS cut FROM ({numbered}) WHERE trim(line) <> '' ORDER BY row")
    rows = staging.scan(raw)
    header = r"(row = 1 AND regexp_matches(line, '(?i)^\W*(item|video|id)'))"
    query = f"SELECT count(*), count_if(cut['item'] = '' AND NOT {header}) FROM {rows}"
    total, broken = sql.fetch_one(staging.connection, query, where=path.name)
    notes = check_broken(path, broken=broken, total=total, what="item and title")
    quoted = """trim(title) LIKE '"_%"'"""
    inner = """replace(substr(trim(title), 2, len(trim(title)) - 2), '""', '"')"""
    told = f"SELECT cut['item'] AS item, cut['title'] AS title, row FROM {rows} WHERE cut['item'] <> ''"
    query = f"SELECT item, CASE WHEN {quoted} THEN {inner} ELSE title END AS title FROM ({told}) ORDER BY row"
    return staging.write(path, query), notes


def _staged_lists(staging: Staging, path: Path) -> Path:
    """user <tab> items separated by spaces -> one row per item."""
    scan = text_scan(path, ("user", "items"), delimiter="\t")
    lists = f"SELECT user, list_filter(string_split(items, ' '), lambda x: trim(x) <> '') AS items FROM {scan}"
    query = f"SELECT user, unnest(items) AS item, unnest(range(1, len(items) + 1)) AS timestamp FROM ({lists})"
    return staging.write(path, query)
