"""Names and contents of the rows: users.parquet, catalogue.parquet, and how much of the catalogue is filled.

Letters:  V items, row 0 being padding
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from medleyrec.dataset.arrays import write_parquet
from medleyrec.dataset.journal import CATALOGUE, ITEM_IDS, Part
from medleyrec.dataset.sql import blocks, first_row, parquet
from medleyrec.schema import BRAND, CATEGORIES, DESCRIPTION, IMAGE, ITEM, ITEM_COLUMNS, PRICE, TITLE, USER

_AT = 40  # bits of the place of an entry inside its part

ITEMS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (ITEM, TITLE, DESCRIPTION)),
        (CATEGORIES, pa.list_(pa.list_(pa.string()))),
        (BRAND, pa.string()),
        (PRICE, pa.float64()),
        (IMAGE, pa.string()),
    ]
)
"""Of catalogue.parquet. (With 32-bit offsets, as every reader knows them: a row group holds at most 2 GiB of text.)"""


def write_users(ids: pa.Array, folder: Path) -> None:
    """Sorted ids by user row."""
    parts = (pa.table({USER: ids.slice(at, 1 << 20)}) for at in range(0, len(ids), 1 << 20))
    write_parquet(folder / "users.parquet", parts, pa.schema([(USER, pa.string())]))


def number_items(connection: duckdb.DuckDBPyConnection, kept: pa.Array, parts: Sequence[Part], *, whole: bool) -> int:
    """Table medley_rows(item_id, row): `kept` items of the log from row 1 on; returns V.

    whole: then the rest of the catalogue, or, where there never was one, of all items that the log ever had.
    """
    connection.register("medley_kept", pa.table({ITEM: kept, "row": np.arange(1, len(kept) + 1)}))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE medley_rows AS SELECT item_id::VARCHAR AS item_id, row FROM medley_kept"
    )
    connection.unregister("medley_kept")
    if not whole:
        return len(kept) + 1
    logged = (f"SELECT id AS item_id FROM {parquet(part.folder / ITEM_IDS)}" for part in parts)
    rest = _entries(parts) if _listed(parts) else " UNION ALL ".join(logged)
    connection.execute(
        f"INSERT INTO medley_rows SELECT item_id, {len(kept)} + row_number() OVER (ORDER BY item_id) FROM "
        f"(SELECT DISTINCT item_id FROM ({rest})) ANTI JOIN medley_rows USING (item_id)"
    )
    return int(first_row(connection, "SELECT count(*) FROM medley_rows")[0]) + 1


def _listed(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.item_files]


def _entries(parts: Sequence[Part]) -> str:
    """SQL of all entries of the catalogue; the entry of an item with the lowest `place` counts, as files are read."""
    told = [p for p in (_listed(parts) or parts) if p.entries]
    files = sorted({(f.name, f.place) for p in told for f in p.item_files})
    selects = []
    for part in told:
        ranks = [files.index((f.name, f.place)) for f in part.item_files] or [0]
        rank = f"[{', '.join(map(str, ranks))}][file + 1]"
        place = f"({rank}::BIGINT << {_AT}) + file_row_number"
        selects.append(f"SELECT * EXCLUDE (file_row_number), {place} AS place FROM {parquet(part.folder / CATALOGUE)}")
    return " UNION ALL ".join(selects)


def write_catalogue(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], folder: Path) -> None:
    """catalogue.parquet: what is known of each item row, from row 1 on; the first of several entries wins."""
    entries = _entries(parts)
    if not entries:
        unknown = ", ".join(f"NULL AS {name}" for name in ITEM_COLUMNS[1:])
        query = f"SELECT item_id, {unknown} FROM medley_rows ORDER BY row"
    else:
        wanted = ", ".join(f"e.{name}" for name in ITEM_COLUMNS[1:])
        query = (
            f"WITH entries AS ({entries}), "
            "firsts AS (SELECT item_id, min(place) AS place FROM entries GROUP BY item_id) "
            f"SELECT r.item_id, {wanted} FROM medley_rows r LEFT JOIN firsts f USING (item_id) "
            "LEFT JOIN entries e ON e.place = f.place AND e.item_id = f.item_id ORDER BY r.row"
        )
    write_parquet(folder / "catalogue.parquet", blocks(connection, query, rows=1 << 16), ITEMS_SCHEMA)


def coverage(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, float]:
    """Share of items that have each kind of content; for `image`: that name a file."""
    filled = {c: f"avg(({c} IS NOT NULL AND {c}::VARCHAR <> '')::INTEGER)" for c in (TITLE, DESCRIPTION, BRAND, PRICE)}
    filled[CATEGORIES] = "avg((categories IS NOT NULL AND len(categories) > 0)::INTEGER)"
    filled[IMAGE] = "avg((image IS NOT NULL)::INTEGER)"
    row = first_row(connection, f"SELECT {', '.join(filled.values())} FROM {parquet(folder / 'catalogue.parquet')}")
    return {c: float(v or 0) for c, v in zip(filled, row, strict=True)}


def hash_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Hash of what a Parquet file holds, row by row: equal whatever program, and whichever version of it, wrote it."""
    query = f"SELECT md5(to_json(t)::VARCHAR) FROM (SELECT * EXCLUDE (file_row_number) FROM {parquet(path)}) t"
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks(connection, query, rows=1 << 16):
        digest.update("".join(block.column(0).to_pylist()).encode())
    return digest.hexdigest()
