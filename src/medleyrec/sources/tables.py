"""A user's own files -> canonical tables, read lazily: DuckDB views, no row in Python's memory.

Comes in: a log (CSV, TSV, Parquet, JSON lines), and where there are any a catalogue and pictures.
Goes out: CanonicalTables, whose notes say what was taken for what. The log has been checked once from end to end, so
what is wrong in it is said here: file, row, column, value, fix.
Keep the connection's `preserve_insertion_order` on while the tables are in use: rows of text files are counted by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from pydantic import field_validator

from medleyrec.schema import IMAGE, ITEM, ITEM_COLUMNS, CanonicalTables, InputError
from medleyrec.sources import catalogue, pictures, sql
from medleyrec.sources.catalogue import Catalogue
from medleyrec.sources.categories import chosen
from medleyrec.sources.columns import ColumnMaps
from medleyrec.sources.faults import printable, printable_faults, quoted
from medleyrec.sources.files import is_folder, listed, refuse_remote, tables_in
from medleyrec.sources.interactions import read_log
from medleyrec.sources.pictures import Inspected, Pictures
from medleyrec.sources.times import TimeUnit
from medleyrec.storage import hash_file, hash_json


class TablesConfig(ColumnMaps):
    """Which files, and how to read them where guessing is not enough."""

    interactions: Path | tuple[Path, ...]
    """The log: files, or a folder of them; a folder with interactions.*, items.* and images.* gives all three."""
    items: Path | tuple[Path, ...] | None = None
    images: Path | None = None
    """A folder of <item_id>.jpg/.jpeg/.png/.webp, the folder that image paths are relative to, or a Parquet table."""
    category_separator: str | None = None
    """Splits category text into labels, or into paths where category_path_separator is set too; "" keeps it whole."""
    category_path_separator: str | None = None
    """Splits one path into its levels, root first, such as " > "."""
    time_unit: TimeUnit = "auto"

    @field_validator("interactions", "items", "images", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """Said here: the types themselves would say it in the words of the program."""
        several = value if isinstance(value, list | tuple) else [value]
        if value is not None and not all(isinstance(v, str | Path) for v in several):
            raise ValueError('a path is needed, such as "log.csv", or a list of paths')
        return value


class Inputs(NamedTuple):
    """The files that will be read."""

    log: tuple[Path, ...]
    items: tuple[Path, ...] = ()
    image_tables: tuple[Path, ...] = ()
    image_folder: Path | None = None
    notes: tuple[str, ...] = ()


def tables(connection: duckdb.DuckDBPyConnection, config: TablesConfig) -> CanonicalTables:
    """Raises InputError where a file, a column or a value cannot be used."""
    with printable_faults():
        return _tables(connection, config)


def _tables(connection: duckdb.DuckDBPyConnection, config: TablesConfig) -> CanonicalTables:
    sql.shut_network(connection)
    sql.doubt_statistics(connection)
    inputs = find_inputs(config)
    log = read_log(connection, inputs.log, mapping=config.columns, unit=config.time_unit)
    items = _items(connection, config, inputs, log.query)
    overlap = _overlap(connection, log.query, items.query, inputs.items[0].name) if inputs.items else ()
    shown = find_pictures(connection, config, inputs, items)
    query = with_pictures(items, shown.folder)
    seen = pictures.inspect(connection, query, shown.folder) if shown.folder else Inspected()
    notes = (*inputs.notes, *log.notes, *items.notes, *overlap, *shown.notes, *seen.notes)
    return CanonicalTables(
        connection=connection,
        interactions=connection.sql(log.query),
        items=connection.sql(pictures.without(query, seen.special)),
        images=connection.sql(shown.query) if shown.query else None,
        image_folder=shown.folder,
        fingerprint=_fingerprint(config, inputs, seen.digest),
        notes=tuple(map(printable, notes)),
    )


def find_inputs(config: TablesConfig) -> Inputs:
    inputs = _data_folder(config.interactions) if isinstance(config.interactions, Path) else None
    inputs = inputs or Inputs(listed(config.interactions, what="interactions"))
    if config.items is not None:
        inputs = inputs._replace(items=listed(config.items, what="items"))
    if config.images is None:
        return inputs
    refuse_remote(config.images)
    if is_folder(config.images) and (pictures.has_pictures(config.images) or not tables_in(config.images)):
        return inputs._replace(image_folder=config.images, image_tables=())
    return inputs._replace(image_tables=listed(config.images, what="images"), image_folder=None)


def _data_folder(folder: Path) -> Inputs | None:
    """A folder that holds `interactions.*`, and perhaps `items.*` and `images.*` or a folder `images`."""
    refuse_remote(folder)
    if not is_folder(folder):
        return None
    named = {name: [p for p in tables_in(folder) if p.name.split(".")[0] == name] for name in _NAMES}
    if not named["interactions"]:
        return None
    for name, several in named.items():
        if len(several) > 1:
            both = " and ".join(p.name for p in several)
            raise InputError(f"{folder} holds {both}; leave one, or name the {name} file in the settings")
    subfolder = folder / "images"
    pictured = subfolder if not named["images"] and is_folder(subfolder) else None
    found = [p.name for files in named.values() for p in files] + ([f"{subfolder.name}/"] if pictured else [])
    return Inputs(
        log=tuple(named["interactions"]),
        items=tuple(named["items"]),
        image_tables=tuple(named["images"]),
        image_folder=pictured,
        notes=(f"folder {folder.name}: read {', '.join(found)}",),
    )


_NAMES = ("interactions", "items", "images")


def _items(connection: duckdb.DuckDBPyConnection, config: TablesConfig, inputs: Inputs, log: str) -> Catalogue:
    if not inputs.items:
        return catalogue.without_file(log)
    separators = chosen(config.category_separator, config.category_path_separator)
    return catalogue.read_items(connection, inputs.items, mapping=config.item_columns, separators=separators)


def _overlap(connection: duckdb.DuckDBPyConnection, log: str, items: str, file: str) -> tuple[str, ...]:
    """Items of the log that the catalogue does not know; none in common is a mistake."""
    query = f"""SELECT count(*), {sql.count_if("NOT known")}, any_value({ITEM}) FROM (
        SELECT {ITEM}, {ITEM} IN (SELECT {ITEM} FROM ({items})) AS known FROM (SELECT DISTINCT {ITEM} FROM ({log})))"""
    total, unknown, example = sql.fetch_one(connection, query, where="interactions")
    if unknown == total:
        other = sql.fetch_one(connection, f"SELECT {ITEM} FROM ({items}) LIMIT 1", where="items")[0]
        raise InputError(
            f"no item of the log is in {file} (the log has ids such as {quoted(example, 40)}, the items file "
            f"{quoted(other, 40)}); map the right column under [source.item_columns]: item_id, or leave `items` out"
        )
    return (f"items: {unknown:,} of the log's {total:,} items are not in the items file",) if unknown else ()


def find_pictures(
    connection: duckdb.DuckDBPyConnection, config: TablesConfig, inputs: Inputs, items: Catalogue
) -> Pictures:
    """Pictures named in the settings go before those of the items file."""
    if inputs.image_tables:
        return pictures.bytes_from_table(connection, inputs.image_tables, config.item_columns)
    if inputs.image_folder is not None:
        return Pictures(folder=inputs.image_folder)
    if items.image_bytes is not None:
        return pictures.first_bytes(connection, items.image_bytes, where=", ".join(p.name for p in inputs.items))
    return Pictures(folder=inputs.items[0].parent) if items.paths else Pictures()


def with_pictures(items: Catalogue, folder: Path | None) -> str:
    """Where the items name no picture file, the files of the folder are named by item."""
    if folder is None or items.paths:
        return items.query
    columns = ", ".join(f"i.{c}" for c in ITEM_COLUMNS if c != IMAGE)
    files = pictures.named_by_item(folder)
    return f"SELECT {columns}, p.{IMAGE} FROM ({items.query}) i LEFT JOIN ({files}) p USING ({ITEM})"


def _fingerprint(config: TablesConfig, inputs: Inputs, picture_hash: str) -> str:
    """Content and settings, but no place: the same files elsewhere have the same fingerprint."""
    settings = config.model_dump(mode="json", exclude={"interactions", "items", "images"})
    files = [[p.name, hash_file(p)] for p in (*inputs.log, *inputs.items, *inputs.image_tables)]
    return hash_json({"settings": settings, "files": files, "pictures": picture_hash})
