"""Answers that are there already: a Parquet, CSV or JSON lines file with item_id, view and text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medleyrec.schema import DESCRIPTIONS, ITEM, InputError

VIEW, ANSWER = "view", "text"
COLUMNS = (ITEM, VIEW, ANSWER)
SHORT = {view.removeprefix("described_"): view for view in DESCRIPTIONS}
Row = tuple[str, str, str]


def read_answers(path: Path) -> Iterator[Row]:
    """(item id, view, text) row by row. Raises InputError naming file, row and value."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; --answers takes Parquet, CSV or JSON lines with {', '.join(COLUMNS)}")
    readers = {".parquet": _parquet, ".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} does not end in .parquet, .csv, .tsv or .jsonl; rename or convert it")
    seen: dict[tuple[str, str], int] = {}
    for number, (item, view, text) in enumerate(reader(path), 1):
        view = SHORT.get(str(view), str(view))
        if view not in DESCRIPTIONS:
            raise InputError(f"{path}, row {number}: the view {view!r} is none of {', '.join(DESCRIPTIONS)}; mend it")
        if item is None or str(item) == "":
            raise InputError(f"{path}, row {number}: the {ITEM} is empty; fill it in or drop the row")
        if isinstance(item, dict | list) or not isinstance(text, str | int | float | None):
            odd, wanted = (ITEM, item) if isinstance(item, dict | list) else (ANSWER, text)
            raise InputError(f"{path}, row {number}: the {odd} {_shown(wanted)} is no text; write one in quotes")
        if before := seen.get((str(item), view)):
            raise InputError(
                f"{path}, row {number}: {ITEM} {str(item)!r} has an answer for {view} in row {before} already; keep one"
            )
        seen[str(item), view] = number
        yield str(item), view, "" if text is None else str(text)


def _parquet(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _check(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=4096, columns=list(COLUMNS)):
            yield from zip(*(batch.column(name).cast(pa.string()).to_pylist() for name in COLUMNS), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({_line(error)}); write it again") from None


def _csv(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            _check(path, rows.fieldnames or ())
            for number, row in enumerate(rows, 1):
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}, row {number}: it has not as many fields as the header; quote texts with commas"
                    )
                yield row[ITEM], row[VIEW], row[ANSWER]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 CSV ({_line(error)}); mend that place") from None


def _jsonl(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 (told where a line is broken)
                if line.strip():
                    row = json.loads(line)
                    _check(path, row if isinstance(row, dict) else ())
                    yield row[ITEM], row[VIEW], row[ANSWER]
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and numbers of thousands of digits among them
        raise InputError(f"{path}, line {number or 1}: not JSON in UTF-8 ({_line(error)}); mend that line") from None


def _check(path: Path, names: Any) -> None:
    lacking = [name for name in COLUMNS if name not in names]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; it needs the columns {', '.join(COLUMNS)}")


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
