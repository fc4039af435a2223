"""What DuckDB says about a file that it cannot read, told in one sentence."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

_SHOWN = 120
_BROKEN = ("GZIP", "ZSTD", "compressed", "Parquet", "magic bytes", "No files found")
_NOT_UTF8 = "is not UTF-8 text; convert the file, for example with `iconv -f latin1 -t utf8`"


def complaint(message: str, *, where: str) -> str:
    """One sentence. `where` names the file, or the files together where the message does not say which."""
    named = re.search(r"^\s*file = (.+)$", message, re.M) or re.search(r'in file "([^"]+)"', message)
    path = Path(named[1].strip()) if named else None
    where = path.name if path else where
    if line := re.search(r"CSV Error on Line: (\d+)", message):
        return f"{where}, line {line[1]} (the header is line 1){_csv_fault(message)}"
    if "Malformed JSON" in message:
        return (
            f"{where}{_bad_json_line(path) if path else ''} is not valid JSON; "
            "write one JSON object per line, with double quotes, or convert the file to CSV or Parquet"
        )
    if "expected records" in message:
        return f'{where} holds JSON that is no row; write one JSON object per line, such as {{"user_id": "u1"}}'
    if "unicode" in message.lower() or "utf-8" in message.lower():
        return f"{where} {_NOT_UTF8}"
    first = re.sub(r"^[\w ]*Error: ", "", message.strip()).splitlines()[0][:_SHOWN].strip(" .")
    if any(word in message for word in _BROKEN):
        return f"{where} is damaged or incomplete ({first}); copy or download it again"
    return f"{where} cannot be read: {first}"


def _csv_fault(message: str) -> str:
    original = re.search(r"Original Line: ([^\n]*)\n+([^\n]*)", message)
    shown = f" ({original[1].strip()[:_SHOWN]!r})" if original and original[1].strip() else ""
    if "unicode" in message.lower():
        return f"{shown} {_NOT_UTF8}"
    if counts := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message):
        return (
            f"{shown} has {counts[2]} fields where the header has {counts[1]}; "
            'mend that line, or put values that contain the separator in double quotes ("...")'
        )
    if "unterminated quote" in message:
        return f'{shown} has a double quote that is never closed; close it, or write a quote inside a value as ""'
    return (
        f"{shown} is not valid CSV ({original[2][:_SHOWN].strip(' .') if original else 'unreadable'}); mend that line"
    )


def _bad_json_line(path: Path) -> str:
    """Looked up here: what DuckDB counts as the line differs between its versions."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip() and not _is_json(line):
                    return f", line {number} ({line.decode(errors='replace').strip()[:_SHOWN]!r})"
    except (OSError, EOFError):
        pass
    return ""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
