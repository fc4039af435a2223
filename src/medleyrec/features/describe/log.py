"""Answers on disk: an append-only log of checked lines, `<crc32> <JSON>`, that survives the death of its writer.

A line is written by one call to the system as soon as its answer is there, so a killed process loses nothing it had;
lines are forced to disk in small groups. A torn last line is not seen by readers and cut off by the next writer. The
last line of a key is its answer. Two kinds of lines: {"series": ...} when a run begins, {"key": ...} for an answer.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from medleyrec.features.describe.answers import STATUSES, USABLE, Answer
from medleyrec.features.describe.series import Question, Series
from medleyrec.features.lock import exclusive
from medleyrec.schema import InputError

NAME = "answers.log"
GROUP = 16
"""Answers that cost something: so many are forced to disk together."""
SECONDS = 2.0
"""The longest that a line waits for that, while others come."""


class Stored(NamedTuple):
    """Where an answer lies in the log, and what is asked of it often."""

    status: str
    view: str
    series: str
    start: int
    size: int
    tokens_in: int | None
    tokens_out: int | None


class AnswerLog:
    """Readers need no lock; one process writes at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.index: dict[str, Stored] = {}
        self.series: dict[str, Series] = {}  # the most recently used last
        self.damaged = 0
        """Lines that cannot be read though others follow them: their questions are asked again."""
        self._end = 0
        self._read()

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"AnswerLog({len(self):,} answers of {len(self.series)} series; {self.folder})"

    def answer(self, key: str) -> dict[str, Any] | None:
        """The whole record."""
        stored = self.index.get(key)
        return None if stored is None else self._record(stored)

    def texts(self, keys: Sequence[str | None]) -> list[str | None]:
        """The text of each key that has a usable answer."""
        if not any(key in self.index for key in keys):
            return [None] * len(keys)
        with self.path.open("rb") as file:
            return [self._text(key, file) for key in keys]

    def _text(self, key: str | None, file: Any) -> str | None:
        stored = self.index.get(key) if key is not None else None
        if stored is None or stored.status not in USABLE:
            return None
        text: str = self._record(stored, file)["text"]
        return text

    def _record(self, stored: Stored, file: Any = None) -> dict[str, Any]:
        if file is None:
            with self.path.open("rb") as own:
                return self._record(stored, own)
        file.seek(stored.start)
        record = decoded(file.read(stored.size))
        if record is None:
            raise InputError(f"{self.path} changed while it was read; run the command again")
        return record

    def _read(self) -> None:
        self.index, self.series, self.damaged, self._end = {}, {}, 0, 0
        if not self.path.exists():
            return
        start, doubtful = 0, 0
        with self.path.open("rb") as file:
            for line in file:
                record = decoded(line)
                if record is None:
                    doubtful += 1
                else:
                    self._take(record, start, len(line))
                    self.damaged, doubtful, self._end = self.damaged + doubtful, 0, start + len(line)
                start += len(line)

    def _take(self, record: dict[str, Any], start: int, size: int) -> None:
        """What a later version may have written is passed over, and kept."""
        if isinstance(record.get("series"), dict):
            self._take_series(record["series"])
        status, view = record.get("status"), record.get("view")
        if "key" not in record or status not in STATUSES:
            return
        self.index[record["key"]] = Stored(
            status, str(view), str(record.get("series")), start, size, record.get("tokens_in"), record.get("tokens_out")
        )

    def _take_series(self, values: dict[str, Any]) -> None:
        series = Series.from_json(values, where=str(self.path))
        self.series.pop(series.id, None)
        self.series[series.id] = series

    @contextmanager
    def writing(self, *, group: int = GROUP, clock: Callable[[], float] = time.monotonic) -> Iterator[Writer]:
        """Hold the write lock; `group` lines are forced to disk together. Raises InputError where another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / "lock"):
            self._read()  # another process may have written since
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                os.ftruncate(handle, self._end)  # the torn tail of a killed writer
                writer = Writer(self, handle, group, clock)
                try:
                    yield writer
                finally:
                    writer.sync()
            finally:
                os.close(handle)

    def _appended(self, record: dict[str, Any], size: int) -> None:
        self._take(record, self._end, size)
        self._end += size


class Writer:
    """Appends to a log whose lock is held."""

    def __init__(self, log: AnswerLog, handle: int, group: int, clock: Callable[[], float]) -> None:
        self.log, self._handle, self._group, self._clock = log, handle, group, clock
        self._unsynced, self._synced_at = 0, clock()

    def begin(self, series: Series) -> None:
        """Say who answers from here on; kept even where nothing new is answered: it is the most recent then."""
        if next(reversed(self.log.series), None) != series.id:
            self._append({"series": series.to_json(), "time": _now()})

    def add(self, series: Series, question: Question, answer: Answer, item_id: str) -> None:
        self._append(
            {
                "key": question.key,
                "item": item_id,
                "view": question.view,
                **series.facts(question.view),
                "time": _now(),
                "status": answer.status,
                "text": answer.text,
                "reason": answer.reason,
                "finish": answer.finish,
                "tokens_in": answer.tokens_in,
                "tokens_out": answer.tokens_out,
            }
        )

    def sync(self) -> None:
        if self._unsynced:
            os.fsync(self._handle)
        self._unsynced, self._synced_at = 0, self._clock()

    def _append(self, record: dict[str, Any]) -> None:
        line = encoded(record)
        end = self.log._end
        os.lseek(self._handle, end, os.SEEK_SET)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except BaseException:  # a full disk
            os.ftruncate(self._handle, end)
            raise
        self.log._appended(record, len(line))
        self._unsynced += 1
        if self._unsynced >= self._group or self._clock() - self._synced_at >= SECONDS:
            self.sync()


def encoded(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decoded(line: bytes) -> dict[str, Any] | None:
    """None where the line is torn or damaged."""
    if len(line) < 11 or not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    body = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(body):
        return None
    record = json.loads(body)
    return record if isinstance(record, dict) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
