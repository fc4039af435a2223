"""Canonical tables -> one part of the journal: ids become integers once, and no later step meets their text.

Letters:  E events
DuckDB finds the distinct ids and codes the log against them, on all cores and within its memory limit. A join does
not keep the order of rows, so each event is written to the place that its `order` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medleyrec import storage
from medleyrec.dataset.arrays import ArrayWriter, hash_range, write_parquet
from medleyrec.dataset.journal import (
    CATALOGUE,
    COLUMN_OF,
    DTYPES,
    ITEM_IDS,
    ITEMS,
    KINDS,
    NANOS,
    NOTHING,
    RATINGS,
    RECORD,
    TIMES,
    USER_IDS,
    USERS,
    Inputs,
    LogFile,
    Part,
)
from medleyrec.dataset.pictures import keep_pictures
from medleyrec.dataset.sql import Step, blocks, literal, parquet, scalar, watched
from medleyrec.schema import EVENT, ITEM, ITEM_COLUMNS, ORDER, RATING, TIME, USER, CanonicalTables, InputError, Int64s

ROW_BITS = 33
_RAGGED = 64  # runs of consecutive rows that a small block may have
CATALOGUE_SCHEMA = pa.schema(
    [
        *((name, pa.large_string()) for name in ("item_id", "title", "description")),
        ("categories", pa.list_(pa.list_(pa.large_string()))),
        ("brand", pa.large_string()),
        ("price", pa.float64()),
        ("image", pa.large_string()),
    ]
)


class _NotRowsError(Exception):
    """The low bits of `order` do not number the rows."""


def write_part(tables: CanonicalTables, inputs: Inputs, folder: Path, earlier: Sequence[Part], step: Step) -> Part:
    """Write what `tables` hold into `folder`, coded after the dictionaries of the `earlier` parts."""
    connection = tables.connection
    tables.interactions.create_view("medley_interactions", replace=True)
    names = _event_names(connection, tables, earlier)
    with watched(connection, step, "collecting ids"):
        new_users, total = _code(
            connection, USER, [(p.folder / USER_IDS, p.new_users) for p in earlier], folder / USER_IDS
        )
        new_items, _ = _code(connection, ITEM, [(p.folder / ITEM_IDS, p.new_items) for p in earlier], folder / ITEM_IDS)
    columns = _write_events(connection, tables, folder, names, total, step)
    part = Part(
        folder=folder,
        fingerprint=tables.fingerprint,
        files=_files(folder, inputs, columns, total),
        columns=tuple(columns),
        new_users=new_users,
        new_items=new_items,
        event_names=names,
        item_files=inputs.items,
        image_files=inputs.images,
        entries=_write_entries(connection, tables, inputs, folder),
        pictures=keep_pictures(tables, folder),
    )
    for name in (USER, ITEM):
        connection.execute(f"DROP TABLE medley_codes_{name}")
    storage.write_json(folder / RECORD, part.model_dump(mode="json"))
    return part


def _event_names(
    connection: duckdb.DuckDBPyConnection, tables: CanonicalTables, earlier: Sequence[Part]
) -> tuple[str, ...]:
    known = earlier[-1].event_names if earlier else ()
    if EVENT not in tables.interactions.columns:
        return known
    query = f"SELECT DISTINCT {EVENT} FROM medley_interactions WHERE {EVENT} IS NOT NULL ORDER BY 1"
    found = [row[0] for row in connection.execute(query).fetchall()]
    names = (*known, *(name for name in found if name not in known))
    if len(names) > np.iinfo(np.int16).max:
        raise InputError(
            f"the log has {len(names):,} types of events (such as {names[0]!r} and {names[1]!r}); if this column is "
            'none of event types, leave it out with [source.columns]: event = ""'
        )
    return names


def _code(
    connection: duckdb.DuckDBPyConnection, column: str, earlier: Sequence[tuple[Path, int]], target: Path
) -> tuple[int, int]:
    """Table medley_codes_<column>(id, code) of all ids of the log; returns (ids that are new, events).

    New ids are written to `target` in sorted order and numbered on from those of the earlier dictionaries.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE medley_ids AS SELECT {column} AS id, count(*) AS events "
        "FROM medley_interactions GROUP BY ALL"
    )
    total = int(scalar(connection, "SELECT coalesce(sum(events), 0) FROM medley_ids"))
    bases = np.cumsum([0, *(count for _, count in earlier)]).tolist()
    known = " UNION ALL ".join(
        f"SELECT id, (file_row_number + {base})::INTEGER AS code FROM {parquet(path)} SEMI JOIN medley_ids USING (id)"
        for (path, _), base in zip(earlier, bases, strict=False)
    )
    old = f"ANTI JOIN ({known}) USING (id)" if known else ""
    fresh = blocks(connection, f"SELECT id FROM medley_ids {old} ORDER BY id")
    count = write_parquet(target, fresh, pa.schema([("id", pa.large_string())]))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE medley_codes_{column} AS {known} {'UNION ALL' if known else ''} "
        f"SELECT id, (file_row_number + {bases[-1]})::INTEGER AS code FROM {parquet(target)}"
    )
    connection.execute("DROP TABLE medley_ids")
    return count, total


def _write_events(
    connection: duckdb.DuckDBPyConnection,
    tables: CanonicalTables,
    folder: Path,
    names: Sequence[str],
    total: int,
    step: Step,
) -> list[str]:
    """The columns of events; returns which there are."""
    present = [c for c, canonical in COLUMN_OF.items() if canonical in tables.interactions.columns]
    row = f'"{ORDER}"' if ORDER in tables.interactions.columns else "row_number() OVER () - 1"
    log = f"SELECT *, {row} AS place FROM medley_interactions"
    try:
        return _stream(connection, log, folder, present, names, total, step)
    except _NotRowsError:
        ranked = f"row_number() OVER (ORDER BY {TIME}, place, {USER}, {ITEM}) - 1"
        again = f"SELECT * REPLACE ({ranked} AS place) FROM ({log})"
        return _stream(connection, again, folder, present, names, total, step)


def _stream(
    connection: duckdb.DuckDBPyConnection,
    log: str,
    folder: Path,
    present: Sequence[str],
    names: Sequence[str],
    total: int,
    step: Step,
) -> list[str]:
    listed = "[" + ", ".join(map(literal, names)) + "]::VARCHAR[]"
    extra = {
        RATINGS: f"coalesce(l.{RATING}, 'nan')::DOUBLE",
        KINDS: f"(coalesce(list_position({listed}, l.{EVENT}), 0) - 1)::SMALLINT",
    }
    query = (
        f"SELECT l.place::BIGINT AS place, u.code AS {USERS}, i.code AS {ITEMS}, l.{TIME}::BIGINT AS {TIMES}"
        + "".join(f", {extra[c]} AS {c}" for c in present)
        + f" FROM ({log}) l LEFT JOIN medley_codes_{USER} u ON l.{USER} = u.id "
        f"LEFT JOIN medley_codes_{ITEM} i ON l.{ITEM} = i.id"
    )
    # The log must stay the side that streams by: a CSV file's size is a guess, and the guess could turn the join round.
    # Nor may a Parquet file's own statistics decide which of its rows are looked at: they may be false.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side,statistics_propagation'")
    places = _Places(folder, (USERS, ITEMS, TIMES, *present))
    try:
        for block in blocks(connection, query):
            if any(column.null_count for column in block.columns):
                raise InputError("the log changed while it was read, or is damaged; run the same command again")
            places.put(block)
            step("coding events", places.rows, total)
        places.check(total)
    finally:
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        places.close()
    return list(places.writers)


class _Places:
    """Columns of events, written in any order to the rows where they belong."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.folder, self.rows, self.runs = folder, 0, list[NDArray[np.int64]]()
        self.writers = {c: ArrayWriter(folder / f"{c}.npy", DTYPES[c]) for c in columns}

    def put(self, block: pa.RecordBatch) -> None:
        given = {
            name: column.to_numpy(zero_copy_only=False)
            for name, column in zip(block.schema.names, block.columns, strict=True)
        }
        place = given.pop("place")
        row, nanos = place & ((1 << ROW_BITS) - 1), place >> ROW_BITS
        if len(place) and (place.min() < 0 or nanos.max() > np.iinfo(np.int32).max):
            raise _NotRowsError
        if (np.diff(row) < 0).any():
            order = np.argsort(row, kind="stable")
            row, nanos, given = row[order], nanos[order], {c: values[order] for c, values in given.items()}
        if nanos.any() or NANOS in self.writers:
            given[NANOS] = nanos
            self.writers.setdefault(NANOS, ArrayWriter(self.folder / f"{NANOS}.npy", DTYPES[NANOS]))
        self._put_runs(row, given)

    def _put_runs(self, row: Int64s, given: dict[str, NDArray[np.generic]]) -> None:
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(row) != 1) + 1, [len(row)]])
        if len(cuts) > _RAGGED + len(row) // 8:
            raise _NotRowsError
        for a, b in pairwise(cuts.tolist()):
            for column, values in given.items():
                self.writers[column].put(int(row[a]), values[a:b])
        self.runs.append(
            np.stack([row[cuts[:-1]], row[cuts[1:] - 1] + 1], 1) if len(row) else np.zeros((0, 2), np.int64)
        )
        self.rows += len(row)

    def check(self, total: int) -> None:
        """Every row from 0 on was put, and once."""
        runs = np.concatenate([np.zeros((0, 2), np.int64), *self.runs])
        runs = runs[np.argsort(runs[:, 0], kind="stable")]
        ends = np.concatenate([[0], runs[:, 1]])
        if self.rows != total or (runs[:, 0] != ends[:-1]).any() or ends[-1] != total:
            raise _NotRowsError

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close(self.rows)


def _files(folder: Path, inputs: Inputs, columns: Sequence[str], total: int) -> tuple[LogFile, ...]:
    sizes = [f.rows if f.rows is not None else total for f in inputs.log]
    assert sum(sizes) == total, f"{inputs.log} are said to hold {sum(sizes)} events, {total} came"
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(
        LogFile(name=f.name, place=f.place, start=start, rows=rows, content=_content(folder, columns, start, rows))
        for f, start, rows in zip(inputs.log, starts, sizes, strict=False)
    )


def _content(folder: Path, columns: Sequence[str], start: int, rows: int) -> str:
    """Equal for equal events. A column that says nothing about them counts as absent: another file may have had it."""
    told = b""
    for column in sorted(columns):
        digest, any_said = hash_range(folder / f"{column}.npy", start, start + rows, nothing=NOTHING.get(column))
        told += column.encode() + digest if any_said else b""
    return storage.hash_bytes(told)


def _write_entries(
    connection: duckdb.DuckDBPyConnection, tables: CanonicalTables, inputs: Inputs, folder: Path
) -> bool:
    """catalogue.parquet, in the order in which the entries come; False where nothing is known but the log's ids."""
    if not inputs.items and tables.image_folder is None:
        return False
    tables.items.create_view("medley_items", replace=True)
    file = "file" if "file" in tables.items.columns else "0"
    query = f"SELECT {', '.join(ITEM_COLUMNS)}, {file}::INTEGER AS file FROM medley_items"
    schema = CATALOGUE_SCHEMA.append(pa.field("file", pa.int32()))
    write_parquet(folder / CATALOGUE, blocks(connection, query, rows=1 << 16), schema)
    return True
