"""Pictures of a dataset: one flat file of bytes with starts and lengths per item row, or paths inside a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from medleyrec.dataset.arrays import write_parquet
from medleyrec.dataset.journal import PICTURES, Part
from medleyrec.dataset.sql import blocks, parquet
from medleyrec.schema import CanonicalTables
from medleyrec.storage import inside

_SPANS = pa.schema([("item_id", pa.large_string()), ("start", pa.int64()), ("length", pa.int64())])
_BYTES = "pictures.bin"


def keep_pictures(tables: CanonicalTables, folder: Path) -> int | None:
    """Write pictures that came as bytes into a part of the journal; returns how many, None where none can be there."""
    if tables.images is None:
        return None
    tables.images.create_view("medley_images", replace=True)
    ids, ends = list[str](), [0]
    with (folder / _BYTES).open("wb") as file:
        query = "SELECT item_id, bytes FROM medley_images WHERE bytes IS NOT NULL AND octet_length(bytes) > 0"
        for block in blocks(tables.connection, query, rows=256):
            ids += block.column(0).to_pylist()
            for picture in block.column(1):
                file.write(picture.as_buffer())
                ends.append(file.tell())
    spans = pa.table({"item_id": ids, "start": np.array(ends[:-1], np.int64), "length": np.diff(ends)})
    return write_parquet(folder / PICTURES, [spans], _SPANS)


def save_pictures(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], folder: Path, *, num_items: int
) -> int | None:
    """Write pictures.bin and picture_spans.npy (V, 2) of the rows; returns how many items have one, the first counting.

    None where no part has pictures as bytes.
    """
    pictured = sorted((p for p in parts if p.pictures is not None), key=_first_name)
    if not pictured:
        return None
    told = " UNION ALL ".join(
        f"SELECT item_id, start, length, {n} AS part, file_row_number AS at FROM {parquet(part.folder / PICTURES)}"
        for n, part in enumerate(pictured)
    )
    chosen = "r.row, p.part, p.start, p.length"
    query = f"SELECT {chosen} FROM ({told}) p JOIN medley_rows r USING (item_id) ORDER BY r.row, p.part, p.at"
    found = connection.sql(query).fetchnumpy()
    first = np.flatnonzero(np.diff(found["row"], prepend=0))
    spans = np.zeros((num_items, 2), np.int64)
    files = [(part.folder / _BYTES).open("rb") for part in pictured]
    with (folder / _BYTES).open("wb") as out:
        columns = (found[c][first].tolist() for c in ("row", "part", "start", "length"))
        for row, part, start, length in zip(*columns, strict=True):
            spans[row] = out.tell(), length
            files[part].seek(start)
            out.write(files[part].read(length))
    for file in files:
        file.close()
    np.save(folder / "picture_spans.npy", spans)
    return len(first)


def _first_name(part: Part) -> tuple[str, str]:
    """Files of pictures are read in the order of their names; those of one part stand together."""
    return min(((f.name, f.place) for f in part.image_files or part.item_files or part.files), default=("", ""))


def read_picture(image_folder: Path, relative: str) -> bytes | None:
    """Bytes of a picture; None where the file is not there. Raises InputError for a path that leaves the folder."""
    path = inside(image_folder, relative)
    try:
        return path.read_bytes() if path.is_file() else None  # a pipe or a device would be waited for
    except OSError:
        return None
