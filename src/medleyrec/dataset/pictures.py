"""Pictures of a dataset: one flat file of bytes with starts and lengths per item row, or paths inside a folder."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from medleyrec.dataset.sql import blocks, scalar
from medleyrec.schema import CanonicalTables
from medleyrec.storage import inside


def save_pictures(
    connection: duckdb.DuckDBPyConnection, folder: Path, tables: CanonicalTables, *, num_items: int
) -> int:
    """Write pictures.bin and picture_spans.npy (V, 2) where pictures came as bytes; returns how many items have one."""
    if tables.images is None:
        named = int(scalar(connection, "SELECT count(*) FROM medley_catalogue WHERE image IS NOT NULL"))
        return named if tables.image_folder is not None else 0
    tables.images.create_view("medley_images", replace=True)
    spans = np.zeros((num_items, 2), np.int64)
    with (folder / "pictures.bin").open("wb") as file:
        end = 0
        query = (
            "SELECT r.row, p.bytes FROM medley_images p JOIN medley_rows r USING (item_id) "
            "WHERE p.bytes IS NOT NULL ORDER BY r.row"
        )
        for block in blocks(connection, query, rows=256):
            rows, pictures = block.columns
            for row_id, picture in zip(rows.to_pylist(), pictures, strict=True):
                if spans[row_id, 1]:
                    continue  # a second picture of the same item
                data = picture.as_py()
                file.write(data)
                spans[row_id] = end, len(data)
                end += len(data)
    np.save(folder / "picture_spans.npy", spans)
    return int((spans[:, 1] > 0).sum())


def read_picture(image_folder: Path, relative: str) -> bytes | None:
    """Bytes of a picture; None where the file is not there. Raises InputError for a path that leaves the folder."""
    path = inside(image_folder, relative)
    try:
        return path.read_bytes()
    except OSError:
        return None
