"""Metadata written as Python literals, one dict per line -> Parquet, each wanted value as JSON text.

Read line by line, with a limit on their length; `ast.literal_eval` builds values and never runs code.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medleyrec.schema import InputError
from medleyrec.sources import packed

LINE_LIMIT = 1 << 20
"""Bytes; longer lines are left out as broken. Real ones stay far below."""
_BATCH = 5_000


def first_record(path: Path, *, lines: int = 100) -> tuple[dict[str, Any], bool]:
    """The first readable record within so many lines, and whether it is JSON (else it is a Python literal)."""
    for line in lines_of(path, limit=lines):
        if line is None:
            continue
        for read, strict in ((_json, True), (literal, False)):
            if (record := read(line)) is not None:
                return record, strict
    raise InputError(
        f"{path.name}: none of its first {lines} lines is a JSON object or a Python dict; "
        "it must hold one record per line: download it again"
    )


def to_json_parquet(path: Path, fields: tuple[str, ...], target: Path) -> None:
    """Every line of `path` becomes a row of `fields` as JSON text, NULL where absent; of a broken line all are NULL."""
    schema = pa.schema([(name, pa.string()) for name in fields])
    with pq.ParquetWriter(target, schema) as writer:
        rows: list[dict[str, str]] = []
        for line in lines_of(path):
            rows.append(_wanted(literal(line) if line is not None else None, fields))
            if len(rows) == _BATCH:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _wanted(record: dict[str, Any] | None, fields: tuple[str, ...]) -> dict[str, str]:
    try:
        return {f: json.dumps(record[f], allow_nan=False, default=str) for f in fields if f in record} if record else {}
    except (ValueError, TypeError, RecursionError):  # an infinite number, or a key that JSON does not have
        return {}


def literal(line: bytes) -> dict[str, Any] | None:
    """The dict that the line writes, None where it writes none."""
    try:
        text = line.decode("utf-8").strip()
        if not (text.startswith("{") and text.endswith("}")):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash before an odd letter is read as it stands
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def lines_of(path: Path, limit: int | None = None) -> Iterator[bytes | None]:
    """Lines that are not blank, without a byte order mark; None for one that is too long."""
    found = 0
    packed.text_head(path)
    with packed.reading(path) as file:
        while (limit is None or found < limit) and (line := file.readline(LINE_LIMIT + 1)):
            if len(line) > LINE_LIMIT:
                while len(line) > LINE_LIMIT and not line.endswith(b"\n"):
                    line = file.readline(LINE_LIMIT + 1)
                yield None
            elif line.strip():
                yield line.removeprefix(b"\xef\xbb\xbf")
            else:
                continue
            found += 1
