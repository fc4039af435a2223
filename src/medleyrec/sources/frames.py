"""Frames that are already in Python (pandas, Polars, Arrow, anything with `__arrow_c_stream__`) -> canonical tables.

The columns that count are written to Parquet once, so that frames meet the same checks and sentences as files do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict, ValidationInfo, field_validator

from medleyrec.schema import IMAGE, CanonicalTables, InputError
from medleyrec.sources import pictures, sql
from medleyrec.sources.assembly import Parts, assembled
from medleyrec.sources.columns import INTERACTION_SPELLINGS, ITEM_SPELLINGS, ColumnMaps, find_columns
from medleyrec.sources.faults import printable_faults, quoted
from medleyrec.sources.staging import Staging
from medleyrec.sources.times import TimeUnit

_ROWS = 1 << 18
_HINT = re.compile(r'such as (?:--column \S+?, or )?in the TOML under \[source\.(\w+)\]: (\w+) = (".*")')


class FramesConfig(ColumnMaps):
    """Frames instead of files; `items` may also be files. The index of a pandas frame is not read."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    interactions: Any
    items: Any = None
    images: Path | None = None
    """A folder of <item_id>.jpg, the folder that image paths are relative to, or a Parquet table."""
    category_separator: str | None = None
    category_path_separator: str | None = None
    time_unit: TimeUnit = "auto"

    @field_validator("interactions", "items")
    @classmethod
    def _is_frame(cls, value: Any, info: ValidationInfo) -> Any:
        other = info.field_name == "items" and (value is None or _are_files(value))
        if not other and not is_frame(value):
            raise ValueError(
                "a pandas, Polars or Arrow frame is needed; give the path of a file to the source of kind 'tables'"
            )
        return value


def is_frame(value: object) -> bool:
    return _is_pandas(value) or isinstance(value, pa.RecordBatchReader) or hasattr(value, "__arrow_c_stream__")


@printable_faults()
def frames(connection: duckdb.DuckDBPyConnection, config: FramesConfig) -> CanonicalTables:
    """Raises InputError where a frame, a column or a value cannot be used."""
    sql.shut_network(connection)
    staging = Staging(connection)
    try:
        log, columns = _staged(staging, "interactions", config.interactions, config.columns, INTERACTION_SPELLINGS)
        items, item_columns = _items(staging, config)
        parts = Parts(
            log=(log,),
            columns=columns,
            originals=(log, *items),
            items=items,
            item_columns=item_columns,
            images=config.images or _home_of_paths(config, items, item_columns.get(IMAGE)),
            options=config.model_dump(include={"category_separator", "category_path_separator", "time_unit"}),
        )
        return assembled(staging, parts, kind="frames", settings=config)
    except InputError as error:
        raise InputError(_HINT.sub(r'such as \1={"\2": \3}', str(error))) from None


def _items(staging: Staging, config: FramesConfig) -> tuple[tuple[Path, ...], Mapping[str, str]]:
    if config.items is None:
        return (), config.item_columns
    if _are_files(config.items):
        given = (config.items,) if isinstance(config.items, str | Path) else config.items
        return tuple(Path(p) for p in given), config.item_columns
    path, columns = _staged(staging, "items", config.items, config.item_columns, ITEM_SPELLINGS)
    return (path,), columns


def _are_files(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(v, str | Path) for v in value)
    return isinstance(value, str | Path)


def _is_pandas(value: object) -> bool:
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns")


def _staged(
    staging: Staging, name: str, frame: Any, mapping: Mapping[str, str], spellings: Mapping[str, tuple[str, ...]]
) -> tuple[Path, dict[str, str]]:
    """The file with the columns that are used, and which is which."""
    called = f"the frame {name!r}"
    table = "columns" if name == "interactions" else "item_columns"
    source = frame if _is_pandas(frame) else _reader(frame, called)
    names = [str(c) for c in source.columns] if _is_pandas(frame) else list(source.schema.names)
    columns = find_columns(names, mapping=mapping, spellings=spellings, where=called, table=table)
    used = list(dict.fromkeys(columns.values()))
    path = staging.place(name, called=called)
    try:
        if _is_pandas(frame):
            _write(path, iter([_from_pandas(frame, names, used, called)]))
        else:
            _write(path, _selected(source, used))
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{called} cannot be read ({_first_line(error)}); convert its columns to plain types"
        ) from None
    return path, columns


def _reader(frame: Any, called: str) -> pa.RecordBatchReader:
    try:
        return frame if isinstance(frame, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{called} is no table that Arrow can read ({_first_line(error)})") from None


def _selected(reader: pa.RecordBatchReader, used: list[str]) -> Iterator[pa.Table]:
    yield reader.schema.empty_table().select(used)
    for batch in reader:
        yield pa.Table.from_batches([batch]).select(used)


def _from_pandas(frame: Any, names: list[str], used: list[str], called: str) -> pa.Table:
    arrays = {}
    for name in used:
        try:
            arrays[name] = pa.array(frame.iloc[:, names.index(name)])
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{called}: column {quoted(name)} holds values of different or unknown types ({_first_line(error)}); "
                "make them one type, for example with .astype(str)"
            ) from None
    return pa.table(arrays)


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    """Row groups of one size however the frame was cut, so that equal content gives equal bytes."""
    held = _plain(next(tables))
    with pq.ParquetWriter(path, held.schema) as writer:
        for table in tables:
            held = pa.concat_tables([held, _plain(table)])
            while len(held) >= _ROWS:
                writer.write_table(held.slice(0, _ROWS).combine_chunks())
                held = held.slice(_ROWS)
        writer.write_table(held.combine_chunks(), row_group_size=_ROWS)


def _plain(table: pa.Table) -> pa.Table:
    """Categories as their values, types that Parquet lacks as their nearest, and one form for texts of all lengths."""
    return table.cast(pa.schema([pa.field(f.name, _plain_type(f.type)) for f in table.schema]))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_duration(kind):
        raise pa.ArrowTypeError(f"a column of {kind} is a span of time")
    text = dict.fromkeys((pa.string(), pa.string_view()), pa.large_string())
    return (text | dict.fromkeys((pa.binary(), pa.binary_view()), pa.large_binary())).get(kind, kind)


def _home_of_paths(config: FramesConfig, items: tuple[Path, ...], column: str | None) -> Path | None:
    """Picture paths in a frame are relative to the current folder, as paths in Python are."""
    if not column or not items or _are_files(config.items):
        return None
    values = pq.read_table(items[0], columns=[column])[column]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return None
    local = pc.invert(pc.match_substring_regex(values, pictures.URL))
    return Path.cwd() if pc.any(local).as_py() else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].strip(" .")
