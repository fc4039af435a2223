"""RecBole's atomic files: `.inter` (the log) and `.item` (the catalogue) in one folder.

Tab-separated, a header of `name:type` with the types token, float, token_seq and float_seq; the parts of a sequence
are separated by a space. Nothing is quoted: a quote in a title is a quote.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
from pydantic import Field

from medleyrec.schema import CATEGORIES, CanonicalTables, InputError
from medleyrec.sources import sql
from medleyrec.sources.assembly import Parts, assembled, existing_folder, pictures_of
from medleyrec.sources.columns import INTERACTION_SPELLINGS, ITEM_SPELLINGS, ColumnMaps, find_columns
from medleyrec.sources.faults import printable_faults, quoted
from medleyrec.sources.staging import Staging, text_scan

_TYPES = ("token", "float", "token_seq", "float_seq")
_SEQUENCES = ("token_seq", "float_seq")
_HEAD = 1 << 16


class RecboleConfig(ColumnMaps):
    """A folder with `<name>.inter` and, if there is one, `<name>.item`; several are read in name order."""

    folder: Path
    images: Path | None = None
    """Pictures: a folder of <item_id>.jpg, or a Parquet table (item_id, bytes)."""
    field_separator: str = Field(default="\t", min_length=1, max_length=4)
    seq_separator: str = Field(default=" ", min_length=1)


class Atomic(NamedTuple):
    """An atomic file: its fields with their types, in order, and the canonical ones among them."""

    path: Path
    types: dict[str, str]
    columns: Mapping[str, str]


@printable_faults()
def recbole(connection: duckdb.DuckDBPyConnection, config: RecboleConfig) -> CanonicalTables:
    """Raises InputError where a header or a row cannot be used."""
    sql.shut_network(connection)
    folder = existing_folder(config.folder)
    logs = [_opened(p, config, INTERACTION_SPELLINGS, config.columns, "columns") for p in _ending(folder, ".inter")]
    items = [_opened(p, config, ITEM_SPELLINGS, config.item_columns, "item_columns") for p in _ending(folder, ".item")]
    if not logs:
        raise InputError(f"{folder} holds no .inter file; name the folder of a data set in RecBole's atomic format")
    staging = Staging(connection)
    parts = Parts(
        log=tuple(staging.write(a.path, _select(a, config)) for a in logs),
        columns={**config.columns, **_same(logs)},
        originals=tuple(a.path for a in (*logs, *items)),
        items=tuple(staging.write(a.path, _select(a, config)) for a in items),
        item_columns={**config.item_columns, **_same(items)},
        images=pictures_of(folder, config.images),
        notes=(f"folder {folder.name}: read {', '.join(a.path.name for a in (*logs, *items))}",),
    )
    return assembled(staging, parts, kind="recbole", settings=config)


def _ending(folder: Path, suffix: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix == suffix and not p.name.startswith("."))


def _same(files: list[Atomic]) -> dict[str, str]:
    for other in files[1:]:
        if dict(other.columns) != dict(files[0].columns):
            raise InputError(
                f"{files[0].path.name} and {other.path.name} have different fields; keep one data set in a folder"
            )
    return dict(files[0].columns) if files else {}


def _opened(
    path: Path, config: RecboleConfig, spellings: Mapping[str, tuple[str, ...]], mapping: Mapping[str, str], table: str
) -> Atomic:
    with path.open("rb") as file:
        line = file.readline(_HEAD).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    types = {}
    for written in line.split(config.field_separator):
        name, colon, kind = written.rpartition(":")
        if not colon or kind not in _TYPES:
            raise InputError(
                f"{path.name}: the header's field {quoted(written)} is not of the form name:type "
                f"(types: {', '.join(_TYPES)}); mend the header, or set field_separator"
            )
        if name in types:
            raise InputError(f"{path.name} has two fields named {quoted(name)}; rename one of them")
        types[name] = kind
    columns = find_columns(list(types), mapping=mapping, spellings=spellings, where=path.name, table=table)
    return Atomic(path, types, columns)


def _select(atomic: Atomic, config: RecboleConfig) -> str:
    """The canonical fields under their own names; the sequence of categories as one path."""
    names = tuple(atomic.types)
    positions = tuple(f"c{n}" for n in range(len(names)))
    scan = text_scan(atomic.path, positions, delimiter=config.field_separator, header=True)
    told = []
    for canonical, name in atomic.columns.items():
        reference = positions[names.index(name)]
        if canonical == CATEGORIES:
            several = atomic.types[name] in _SEQUENCES
            parts = f"string_split({reference}, {sql.text(config.seq_separator)})" if several else f"[{reference}]"
            reference = f"list_filter({parts}, lambda x: trim(x) <> '')"
        told.append(f"{reference} AS {sql.name(name)}")
    return f"SELECT {', '.join(told)} FROM {scan}"
