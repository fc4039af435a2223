"""Kinds of logs. Each is a function (random, folder) -> Case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.case import Case, Event
from tests.hostile.damage import damaged
from tests.hostile.values import (
    BLANK_IDS,
    ISO_FAULTS,
    NASTY_TIMES,
    NUMBER_FAULTS,
    nasty_id,
    plain_events,
)
from tests.hostile.writing import HEADER, NAMES, TEXTS, packed, put, separated, unpacked, written

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def nasty_values(random: Random, folder: Path) -> Case:
    """Legal but nasty ids and times, written properly: every event must come out exactly as it was written."""
    name, count = random.choice(NAMES), random.choice([1, 2, 5, 30])
    unit = random.choice(list(PER_SECOND))
    users, items = ([nasty_id(random) for _ in range(6)] for _ in "ui")
    rows = [(random.choice(users), random.choice(items), _time(random, unit)) for _ in range(count)]
    header, order = _header(random)
    more = {"noise": [random.choice(users) for _ in rows]} if random.random() < 0.3 else {}
    columns = (*(header[n] for n in order), *more)
    table = [(*(row[n] for n in order), *(v[i] for v in more.values())) for i, row in enumerate(rows)]
    path = put(folder, name, written(name, columns, table, random))
    events = tuple(Event(u, i, t // PER_SECOND[unit]) for u, i, t in rows)
    return Case(source={"interactions": str(path), "time_unit": unit}, events=events, named=(name,))


def _time(random: Random, unit: str) -> int:
    seconds = random.choice([*NASTY_TIMES, 1_400_000_000 + random.randrange(10**8)])
    if unit == "ns":
        seconds = min(seconds, 2**63 // 10**9 - 1)
    return seconds * PER_SECOND[unit] + random.randrange(PER_SECOND[unit])


def _header(random: Random) -> tuple[tuple[str, str, str], list[int]]:
    spellings = (
        ("user_id", "User ID", "uid", "\tuserId "),
        ("item_id", "ASIN", "item"),
        ("timestamp", "ts", "Event-Time"),
    )
    return tuple(random.choice(s) for s in spellings), random.sample(range(3), 3)  # type: ignore[return-value]


def iso_times(random: Random, folder: Path) -> Case:
    """ISO text in many dresses, dates from 1970 to 9999."""
    name = random.choice(TEXTS)
    rows, events = [], []
    for user, item, _ in plain_events(random, random.choice([1, 3, 20])):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(253_402_300_000))
        text, shift = _dressed(random, moment)
        rows.append((user, item, text))
        events.append(Event(user, item, int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) - shift))
    if any(e.time < 0 for e in events):
        return Case(
            source={"interactions": str(put(folder, name, written(name, HEADER, rows, random)))}, refused="time"
        )
    path = put(folder, name, written(name, HEADER, rows, random))
    return Case(source={"interactions": str(path)}, events=tuple(events), named=(name,))


def _dressed(random: Random, moment: datetime) -> tuple[str, int]:
    """The text, and how many seconds its zone is ahead of UTC."""
    day, time = f"{moment:%m-%d}", f"{moment:%H:%M:%S}"
    hours, minutes = random.randrange(0, 15), random.choice([0, 30, 45])
    sign = random.choice([1, -1])
    offset = f"{'+' if sign > 0 else '-'}{hours:02d}:{minutes:02d}"
    zone, shift = random.choice([("", 0), ("Z", 0), (" UTC", 0), (offset, sign * (hours * 3600 + minutes * 60))])
    fraction = random.choice(["", ".5", ",123", ".123456789012"])
    return f"{moment.year:04d}-{day}{random.choice('T ')}{time}{fraction}{zone}", shift


def planted_fault(random: Random, folder: Path) -> Case:
    """One value in a good log is impossible: the sentence must name its row and its column."""
    name, rows = random.choice(TEXTS), [list(e) for e in plain_events(random, random.choice([2, 3, 40]))]
    iso = random.random() < 0.3
    if iso:
        for row in rows:
            row[2] = f"{datetime.fromtimestamp(row[2], UTC):%Y-%m-%d %H:%M:%S}"
    row, column = random.randrange(1, len(rows)), random.randrange(3)
    faults: Sequence[Any] = BLANK_IDS if column < 2 else ISO_FAULTS if iso else NUMBER_FAULTS
    rows[row][column] = random.choice(faults)
    if "json" in name and random.random() < 0.3:
        rows[row][column] = None if column < 2 else random.choice([None, [1], {"$date": 5}, True])
    path = put(folder, name, written(name, HEADER, rows, random))
    counted = "record" if "json" in name else "data row"
    where = rf"^{name}, {counted} {row + 1}\b.*column '{HEADER[column]}'"
    return Case(source={"interactions": str(path)}, refused=where, named=(name,))


def damaged_file(random: Random, folder: Path) -> Case:
    """A good file of any format, broken as bytes; compressed ones outside or inside of their packing."""
    name = random.choice(NAMES)
    content = written(name, HEADER, plain_events(random, random.choice([1, 5, 60])), random)
    if name.endswith((".gz", ".zst")) and random.random() < 0.3:
        content = packed(name, damaged(random, unpacked(name, content)))
    else:
        content = damaged(random, content)
    return Case(source={"interactions": str(put(folder, name, content))}, named=(name,))


def encodings(random: Random, folder: Path) -> Case:
    """Text that is not UTF-8, or only says so."""
    name = random.choice(TEXTS)
    rows = [(f"é{u}", f"ü{i}", t) for u, i, t in plain_events(random, 12)]
    text = unpacked(name, written(name, HEADER, rows)).decode()
    if "json" in name:
        text = text.encode().decode("unicode_escape").encode("latin1", "replace").decode("latin1")
    encoding = random.choice(
        ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037", "utf-8-sig"]
    )
    content = text.encode(encoding, "replace")
    if encoding == "utf-16-le" and random.random() < 0.3:
        content = content[: random.randrange(len(content))]
    path = put(folder, name, packed(name, content))
    return Case(source={"interactions": str(path)}, named=(name,))


def line_ends(random: Random, folder: Path) -> Case:
    """Several kinds of line ends in one file, blank lines between: all events come out, or none."""
    name, rows = random.choice(["log.csv", "log.tsv", "log.csv.gz"]), plain_events(random, 10)
    lines = separated(name, HEADER, rows, None).splitlines()
    ends = random.choice(_LINE_ENDS)
    text = "".join(line + random.choice(ends) for line in lines)
    path = put(folder, name, packed(name, text.encode()))
    events = tuple(Event(*row) for row in rows)
    return Case(source={"interactions": str(path)}, events=events, may_refuse=len(ends) > 1, named=(name,))


_LINE_ENDS = (
    *(["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"], ["\n", "\r"], ["\r", "\r\n"], ["\n\n", "\n"]),
    *(["\r\r\n", "\n"], ["\n\r", "\n"], ["\n", "\r", "\r\n", "\n\r"], ["\r\n\r\n", "\r\n"], ["\x0b", "\n"]),
)


def shapes(random: Random, folder: Path) -> Case:
    """Headers and rows that do not fit each other."""
    name = random.choice(["log.csv", "log.tsv"])
    mark = "\t" if name == "log.tsv" else random.choice(",;|")
    lines = [mark.join(map(str, row)) for row in (HEADER, *plain_events(random, random.choice([0, 1, 8])))]
    text = "\n".join(random.choice(_SHAPES)(random, lines, mark)) + random.choice(["", "\n", "\n\n"])
    return Case(source={"interactions": str(put(folder, name, text.encode()))}, named=(name,))


Lines = list[str]


def _some(random: Random, lines: Lines, change: Callable[[str], str], *, header: bool = False) -> Lines:
    if len(lines) < 2 and not header:
        return lines
    at = random.randrange(0 if header else 1, len(lines))
    return [*lines[:at], change(lines[at]), *lines[at + 1 :]]


_SHAPES: tuple[Callable[[Random, Lines, str], Lines], ...] = (
    lambda r, lines, m: lines[:1],
    lambda r, lines, m: lines[1:],
    lambda r, lines, m: ["", *lines],
    lambda r, lines, m: [m * r.randrange(1, 5), *lines],
    lambda r, lines, m: [lines[0] + m, *lines[1:]],
    lambda r, lines, m: [line + m for line in lines],
    lambda r, lines, m: [m.join(r.sample(lines[0].split(m), 3)), *lines[1:]],
    lambda r, lines, m: [
        lines[0] + m + r.choice(["user_id", "item_id", "timestamp", "USER ID", "", "uid", " "]),
        *lines[1:],
    ],
    lambda r, lines, m: [
        lines[0].replace("user_id", r.choice(["", " ", "x", "é", '"', "'", "c1", "a b", "\0", "x" * 9000])),
        *lines[1:],
    ],
    lambda r, lines, m: [lines[0].upper(), *lines[1:]],
    lambda r, lines, m: [f'"{lines[0]}"', *lines[1:]],
    lambda r, lines, m: [m.join(f"column {n}" for n in range(r.choice([1, 2, 50, 3000]))), *lines[1:]],
    lambda r, lines, m: _some(r, lines, lambda s: s + m + "more"),
    lambda r, lines, m: _some(r, lines, lambda s: s.rpartition(m)[0]),
    lambda r, lines, m: _some(r, lines, lambda s: ""),
    lambda r, lines, m: _some(r, lines, lambda s: m.join(["", "", ""])),
    lambda r, lines, m: _some(r, lines, lambda s: '"' + s, header=True),
    lambda r, lines, m: _some(r, lines, lambda s: s.replace(m, f'"{m}', 1), header=True),
    lambda r, lines, m: _some(r, lines, lambda s: s.replace(m, f'"x"{m}', 1)),
    lambda r, lines, m: _some(r, lines, lambda s: s + '"'),
    lambda r, lines, m: _some(r, lines, lambda s: "#" + s),
    lambda r, lines, m: _some(r, lines, lambda s: s.replace(m, "\t" if m != "\t" else ",")),
    lambda r, lines, m: _some(r, lines, lambda s: s + "x" * r.choice([10_000, 1_100_000, 3_000_000])),
    lambda r, lines, m: _some(r, lines, lambda s: "x" * r.choice([10_000, 2_500_000]) + s),
    lambda r, lines, m: _some(r, lines, lambda s: "\\" + s),
    lambda r, lines, m: [line.replace(m, "  ") for line in lines],
    lambda r, lines, m: [f" {line} " for line in lines],
)


def noise(random: Random, folder: Path) -> Case:
    """Bytes that never were a table, under a table's name."""
    name = random.choice((*NAMES, "log.pq", "log.ndjson", "log.tsv.gz"))
    content = random.choice(
        [
            *(
                b"",
                b"\0",
                b"\n",
                b"\r\n",
                b" ",
                b"\xef\xbb\xbf",
                b'"',
                b",",
                b"PAR1",
                b"PAR1PAR1",
                b"{}",
                b"[]",
                b"null",
            ),
            *(
                b"PAR1\0\0\0\0PAR1",
                b"PAR1" + b"\xff" * 8 + b"PAR1",
                b"\x1f\x8b",
                b"\x1f\x8b\x08" + b"\0" * 30,
                b"\x28\xb5\x2f\xfd",
            ),
            *(
                b"GIF89a",
                b"\x89PNG\r\n\x1a\n",
                b"%PDF-1.7",
                b"PK\x03\x04" + b"\0" * 26,
                b"SQLite format 3\0",
                b"ARROW1\0\0",
            ),
            *(
                b"[" * 100_000,
                b'{"a":' * 20_000,
                b'"' * 99_999,
                b"," * 50_000,
                b"\n" * 50_000,
                b"\0" * 100_000,
                b"a" * 3_000_000,
            ),
            *(random.randbytes(random.choice([1, 10, 1000, 50_000])) for _ in range(20)),
        ]
    )
    if random.random() < 0.4:
        content = packed(name, content)
    return Case(source={"interactions": str(put(folder, name, content))}, named=(name,))
