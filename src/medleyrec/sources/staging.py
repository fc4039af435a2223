"""Formats that are no plain table -> narrow Parquet files beside the spill files, streamed there once by DuckDB.

A gzipped log of reviews would otherwise be unpacked anew for every query. The files live as long as the connection.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import duckdb

from medleyrec.schema import InputError
from medleyrec.sources import packed, sql

_UNSET = ("", ".tmp", ":memory:")
_SUFFIX = ".parquet"
_HEADLESS = "header = false"
_HEADLESS_WORDS = {
    " (the header is line 1)": "",
    "where the header has": "instead of",
    ', or put values that contain the separator in double quotes ("...")': "",
}
_BROKEN_SHARE = 0.01
"""A file with more unreadable lines than this is damaged, or not what it is taken for."""


class Staging:
    """A folder of staged files; each is named after the file it came from, so that sentences can name that one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.folder = _beside_the_spill(connection)
        self.names: dict[str, str] = {}
        weakref.finalize(connection, shutil.rmtree, self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"Staging({', '.join(self.names.values())})"

    def write(self, source: Path, query: str) -> Path:
        """The rows of `query`, which reads `source`, in their order."""
        target = self.place(source.name)
        try:
            self.fill(target, query, where=source.name)
        except InputError as error:
            raise InputError(_headless(str(error)) if _HEADLESS in query else str(error)) from None
        return target

    def place(self, name: str, *, called: str | None = None) -> Path:
        """Where the staged form of `name` goes; a file of the same name from elsewhere gets another folder."""
        target = Path(tempfile.mkdtemp(dir=self.folder)) / f"{name}{_SUFFIX}"
        self.names[target.name] = called or name
        return target

    def fill(self, target: Path, query: str, *, where: str) -> None:
        sql.fetch(self.connection, f"COPY ({query}) TO {sql.text(str(target))} (FORMAT parquet)", where=where)

    def scan(self, staged: Path) -> str:
        return f"read_parquet({sql.exact_path(staged)})"

    def told(self, sentence: str) -> str:
        """The sentence with the names that the user knows."""
        for staged, original in self.names.items():
            sentence = sentence.replace(staged, original)
        return sentence


def _beside_the_spill(connection: duckdb.DuckDBPyConnection) -> Path:
    """A fresh folder in the connection's own spill folder where one was named, else in the system's."""
    configured = sql.fetch_one(connection, "SELECT current_setting('temp_directory')", where="the database")[0]
    if configured in _UNSET:
        return Path(tempfile.mkdtemp(prefix="medley-"))
    Path(configured).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="staged-", dir=configured))


def _headless(sentence: str) -> str:
    """About a file whose first line names no columns, and in which a quote protects nothing."""
    for said, meant in _HEADLESS_WORDS.items():
        sentence = sentence.replace(said, meant)
    return sentence


def text_scan(
    path: Path, columns: tuple[str, ...], *, delimiter: str, header: bool = False, quote: str = "", latin: bool = False
) -> str:
    """SQL that reads delimited text, every column as VARCHAR; without a quote character a quote is a quote."""
    types = ", ".join(f"{sql.text(c)}: 'VARCHAR'" for c in columns)
    return (
        f"read_csv({sql.exact_path(path)}, {packed.option(path)}, auto_detect = false, "
        f"{'header = true' if header else _HEADLESS}, "
        f"delim = {sql.text(delimiter)}, quote = {sql.text(quote)}, escape = {sql.text(quote)}, "
        f"encoding = '{'latin-1' if latin else 'utf-8'}', columns = {{{types}}})"
    )


def is_utf8(path: Path) -> bool:
    """Read to the end; meant for catalogues, not for logs."""
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True


def check_broken(path: Path, *, broken: int, total: int, what: str) -> tuple[str, ...]:
    """A note on lines that were left out; raises InputError where they are too many. One is always forgiven."""
    if not broken:
        return ()
    if broken == total or broken > max(1, _BROKEN_SHARE * total):
        raise InputError(
            f"{path.name}: {broken:,} of {total:,} lines hold no {what}; "
            "the file is damaged or of another kind: download it again"
        )
    return (f"{path.name}: {broken:,} of {total:,} lines hold no {what} and are left out",)
