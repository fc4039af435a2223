"""What DuckDB says about a file that it cannot read, told in one sentence without its own words."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medleyrec.schema import InputError

SHOWN = 80
"""Characters of a value that a sentence shows."""
NOT_UTF8 = "is not UTF-8 text; convert the file, for example with `iconv -f latin1 -t utf8`"
_JSON_FIX = "write one JSON object per line, with double quotes, or convert the file to CSV or Parquet"
_LINE_LIMIT = 1 << 22


def quoted(value: str, limit: int = SHOWN) -> str:
    """A value as a sentence shows it: in quotes, on one line, not longer than `limit`."""
    shown = repr(value[: limit + 1])
    return shown if len(shown) <= limit + 2 else f"{shown[: limit - 2]}...{shown[0]}"


def printable(text: str) -> str:
    """Without line breaks, terminal commands and marks that turn the writing around; these are shown by number."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def printable_faults() -> Iterator[None]:
    """Names of files and columns may hold any character; the sentences about them may not."""
    try:
        yield
    except InputError as error:
        raise InputError(printable(str(error))) from None


def damaged(name: str) -> str:
    return f"{name} is damaged or incomplete; copy or download it again"


def complaint(message: str, *, where: str) -> str:
    """One sentence. `where` names the file, or the files together where the message does not say which."""
    named = re.search(r"^\s*file = (.+)$", message, re.M) or re.search(r'in file "([^"]+)"', message)
    path = Path(named[1].strip()) if named else None
    where = path.name if path else where
    lower = re.sub(r"""'[^']*'|"/[^"]*\"""", "", message.splitlines()[0]).lower()  # not what the user wrote himself
    for words, told in _MACHINE.items():
        if words in lower:
            return f"{where} {told}"
    if line := re.search(r"CSV Error on Line: (\d+)", message):
        return f"{where}, line {line[1]} (the header is line 1){_csv_fault(message)}"
    if "state machine" in lower:
        return f"{where} {_LINE_ENDS}"
    if "malformed json" in lower:
        place = f"{where}{_bad_json_line(path) if path else ''}"
        return f"{place} {NOT_UTF8}" if "utf-8" in lower else f"{place} is not valid JSON; {_JSON_FIX}"
    if "expected records" in lower:
        return f'{where} holds JSON that is no row; write one JSON object per line, such as {{"user_id": "u1"}}'
    for words, told in _LIMITS.items():
        if words in lower:
            return f"{where} {told}"
    return f"{where} {NOT_UTF8}" if "unicode" in lower or "utf-8" in lower else damaged(where)


_MACHINE = {
    "out of memory": "needs more memory than is allowed; raise the memory limit (--memory-limit), or split the file",
    "no space left": "cannot be read: no space is left for temporary files; free some in the project's folder",
    "max_temp_directory_size": "needs more space for temporary files than is left; free some in the project's folder",
    "permission denied": "may not be read; give yourself permission to read it",
}
"""Not the file's fault."""
_LINE_ENDS = (
    "mixes kinds of line ends, or has text right after a closing double quote; convert the line ends, for example with "
    '`dos2unix`, and write a quote inside a value as ""'
)
_LIMITS = {
    "recursion depth": f"holds JSON nested more than 100 levels deep; {_JSON_FIX}",
    "duplicate key": "has a row that names a field twice; rename one of the two",
    "could not convert timestamp": "has a time that lies outside of the calendar; mend it or delete its row",
    'column "file_row_number"': "has a column named 'file_row_number', as our own row numbers are; rename it",
}


def _csv_fault(message: str) -> str:
    original = re.search(r"Original Line: ([^\n]*)\n+([^\n]*)", message)
    shown = f" ({quoted(original[1].strip())})" if original and original[1].strip() else ""
    if re.search("^Invalid unicode", message, re.M):
        return f"{shown} {NOT_UTF8}"
    if counts := re.search(r"^Expected Number of Columns: (\d+) Found: (\d+)", message, re.M):
        return (
            f"{shown} has {counts[2]} fields where the header has {counts[1]}; "
            'mend that line, or put values that contain the separator in double quotes ("...")'
        )
    if re.search("^Value with unterminated quote", message, re.M):
        return f'{shown} has a double quote that is never closed; close it, or write a quote inside a value as ""'
    if re.search("^Maximum line size", message, re.M):
        return f"{shown} is longer than 2 MiB; leave out what is not needed, or close its double quotes"
    return f"{shown} is not valid CSV; mend that line"


def _bad_json_line(path: Path) -> str:
    """Looked up here: what DuckDB counts as the line differs between its versions."""
    if path.suffix.lower() == ".zst":
        return ""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            number = 0
            while line := file.readline(_LINE_LIMIT):
                number += 1
                if line.strip() and not _is_json(line):
                    return f", line {number} ({quoted(line.decode(errors='replace').strip())})"
    except (OSError, EOFError):
        pass
    return ""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
