"""Rows -> the bytes of a well-formed file, in every format that the reader takes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEADER = ("user_id", "item_id", "timestamp")
TEXTS = ("log.csv", "log.tsv", "log.csv.gz", "log.csv.zst", "log.jsonl", "log.json", "log.jsonl.gz", "log.jsonl.zst")
NAMES = (*TEXTS, "log.parquet")
Rows = Sequence[Sequence[Any]]


def written(name: str, header: Sequence[str], rows: Rows, random: Random | None = None) -> bytes:
    """A file called `name` with these rows. `random` varies what a format leaves open, such as line ends."""
    if name.endswith(".parquet"):
        return parquet(pa.table({h: pa.array([r[n] for r in rows]) for n, h in enumerate(header)}), random)
    text = json_lines(header, rows, random) if ".json" in name else separated(name, header, rows, random)
    return packed(name, text.encode())


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content, 6, mtime=0)
    return pa.compress(content, codec="zstd", asbytes=True) if name.endswith(".zst") else content


def unpacked(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.decompress(content)
    return pa.input_stream(io.BytesIO(content), compression="zstd").read() if name.endswith(".zst") else content


def separated(name: str, header: Sequence[str], rows: Rows, random: Random | None) -> str:
    """Quoted where needed, by the csv module; one kind of line end, perhaps none at the end, perhaps a byte mark."""
    end = random.choice(["\n", "\r\n"]) if random else "\n"
    minimal = not any("\r" in str(value) for row in rows for value in row)  # which the csv module leaves unquoted
    quoting = csv.QUOTE_MINIMAL if minimal and not (random and random.random() < 0.5) else csv.QUOTE_ALL
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t" if ".tsv" in name else ",", lineterminator=end, quoting=quoting)
    writer.writerow(header)
    writer.writerows(["" if v is None else v for v in row] for row in rows)
    text = file.getvalue()
    if random and random.random() < 0.3:
        text = text.removesuffix(end)
    return ("\ufeff" if random and random.random() < 0.2 else "") + text


def json_lines(header: Sequence[str], rows: Rows, random: Random | None) -> str:
    ascii_only = bool(random and random.random() < 0.5)
    return "".join(
        json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=ascii_only, default=str) + "\n" for row in rows
    )


def parquet(table: pa.Table, random: Random | None = None) -> bytes:
    options: dict[str, Any] = {}
    if random:
        options = {
            "compression": random.choice(["none", "snappy", "zstd", "gzip"]),
            "row_group_size": random.choice([1, 3, 1000]),
            "use_dictionary": random.random() < 0.5,
            "version": "2.6",
            "data_page_version": random.choice(["1.0", "2.0"]),
        }
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()
