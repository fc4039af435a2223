"""Kinds of Parquet logs: every type a column can have, and tables of odd build."""

from __future__ import annotations

import decimal
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile.case import Case, Event
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, parquet, put

_T = 1_400_000_000
_INTEGERS = (pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int32(), pa.int64(), pa.uint64())


def id_types(random: Random, folder: Path) -> Case:
    """Ids of a type that has one true text: they must come out as that text."""
    build = random.choice(_GOOD_IDS)
    array, texts = build(random)
    rows = [(user, f"i{n % 3}", _T + n) for n, user in enumerate(texts)]
    table = pa.table({"user_id": array, "item_id": [r[1] for r in rows], "timestamp": [r[2] for r in rows]})
    path = put(folder, "log.parquet", parquet(table, random))
    return Case(source={"interactions": str(path)}, events=tuple(Event(*r) for r in rows), named=("log.parquet",))


Built = tuple[pa.Array, list[str]]


def _of_integers(random: Random) -> Built:
    kind = random.choice(_INTEGERS)
    high = 2 ** (kind.bit_width - (1 if str(kind).startswith("i") else 0)) - 1
    values = [random.randrange(high + 1), 0, high, *([-high - 1, -1] if str(kind).startswith("i") else [])]
    return pa.array(values, kind), [str(v) for v in values]


def _of_decimals(random: Random) -> Built:
    values = [random.randrange(10**9), 0, -7, 10**17]
    return pa.array([decimal.Decimal(v) for v in values], pa.decimal128(30, random.choice([0, 2]))), [
        str(v) for v in values
    ]


def _of_whole_floats(random: Random) -> Built:
    values = [random.randrange(2**24), 0, -5, 2**24]
    return pa.array(list(map(float, values)), random.choice([pa.float32(), pa.float64()])), [str(v) for v in values]


def _of_text(random: Random) -> Built:
    values = ["a", "é", "😀 ", "a", "\x01", "x\0y"]
    array = pa.array(values, random.choice([pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]))
    if random.random() < 0.5:
        array = array.dictionary_encode()
    return array, values


_GOOD_IDS: tuple[Callable[[Random], Built], ...] = (_of_integers, _of_decimals, _of_whole_floats, _of_text)


def time_types(random: Random, folder: Path) -> Case:
    """Times of every type that can hold them."""
    users, items, seconds = zip(*plain_events(random, 5), strict=True)
    moments = [datetime.fromtimestamp(s, UTC).replace(tzinfo=None) for s in seconds]
    kind = random.choice(
        [pa.int64(), pa.uint64(), pa.float64(), pa.decimal128(38, 9), pa.date32(), pa.date64(), *_STAMPS]
    )
    if pa.types.is_timestamp(kind):
        array = pa.array(moments, pa.timestamp("us")).cast(pa.timestamp(kind.unit)).cast(kind)
    elif pa.types.is_date(kind):
        seconds = tuple(s // 86400 * 86400 for s in seconds)
        array = pa.array([m.date() for m in moments], kind)
    else:
        array = pa.array([decimal.Decimal(s) for s in seconds] if pa.types.is_decimal(kind) else seconds, kind)
    path = put(folder, "log.parquet", parquet(pa.table(dict(zip(HEADER, (users, items, array), strict=True))), random))
    events = tuple(map(Event, users, items, seconds))
    return Case(source={"interactions": str(path)}, events=events, named=("log.parquet",))


_PER_UNIT = {"s": 1000, "ms": 1, "us": 1, "ns": 1}
"""Seconds are written as milliseconds, which must not overflow."""
_STAMPS = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")]


def wrong_types(random: Random, folder: Path) -> Case:
    """One or all columns of any type, with nulls and extremes."""
    size = 4
    columns: dict[str, Any] = {
        "user_id": ["a", "b", "a", "b"],
        "item_id": ["x", "y", "z", "x"],
        "timestamp": [_T, _T + 1, _T + 2, _T + 3],
        random.choice(["rating", "event", "extra"]): any_array(random, size),
    }
    for name in random.sample(sorted(columns), random.choice([1, 1, 2, 4])):
        columns[name] = any_array(random, size)
    path = put(folder, "log.parquet", parquet(pa.table(columns), random))
    return Case(source={"interactions": str(path)}, named=("log.parquet",))


def any_array(random: Random, size: int) -> pa.Array:
    kind, values = random.choice(_ANY)
    chosen = [random.choice(values) for _ in range(size)]
    if random.random() < 0.3:
        chosen[random.randrange(size)] = None
    if random.random() < 0.05:
        chosen = [None] * size
    array = pa.array(chosen, kind)
    dictionary = random.random() < 0.2 and not pa.types.is_nested(kind) and not pa.types.is_null(kind)
    return array.dictionary_encode() if dictionary else array


_ANY: tuple[tuple[pa.DataType, list[Any]], ...] = (
    (pa.null(), [None]),
    (pa.bool_(), [True, False]),
    *((kind, [0, 1, 100]) for kind in _INTEGERS),
    (pa.int64(), [-(2**63), 2**63 - 1, 0]),
    (pa.uint64(), [2**64 - 1, 0]),
    (pa.float16(), [1.0, 2.5]),
    (pa.float32(), [1.5, float("nan"), float("inf"), 1e38, 1.4e9]),
    (pa.float64(), [1.5, float("nan"), float("-inf"), 1e308, -0.0, 5e-324, 1.4e9, 9007199254740993.0]),
    (pa.decimal128(38, 10), [decimal.Decimal("1.5"), decimal.Decimal(10**27)]),
    (pa.decimal256(60, 5), [decimal.Decimal("1.5"), decimal.Decimal(10**40)]),
    (pa.string(), ["a", "", " ", "1", "1e5", "nan", "2024-05-01", "x" * 10_000, "[1]", "a\nb"]),
    (pa.binary(), [b"a", b"", b"\xff\xfe", b"\0", b"\xed\xa0\x80"]),
    (pa.binary(4), [b"abcd", b"\xff\xff\xff\xff"]),
    (pa.date32(), [date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31)]),
    (pa.time64("us"), [5, 86_399_000_000]),
    (pa.duration("us"), [5, -5]),
    *((kind, [0, 1, 2**60 // _PER_UNIT[kind.unit], -1, -(2**63) // _PER_UNIT[kind.unit] + 1]) for kind in _STAMPS),
    (pa.list_(pa.int64()), [[1, 2], [], [None]]),
    (pa.large_list(pa.string()), [["a"], [""], []]),
    (pa.list_(pa.list_(pa.string())), [[["a"], []], [[None]]]),
    (pa.list_(pa.float32(), 2), [[1.0, 2.0]]),
    (
        pa.struct({"a": pa.int64(), "b": pa.struct({"c": pa.string()})}),
        [{"a": 1, "b": {"c": "x"}}, {"a": None, "b": None}],
    ),
    (
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        [{"bytes": b"x", "path": "p"}, {"bytes": None, "path": ""}],
    ),
    (pa.map_(pa.string(), pa.int64()), [[("k", 1)], []]),
)


def odd_builds(random: Random, folder: Path) -> Case:
    """Tables without rows, without columns, with equal names, with thousands of columns."""
    users, items, seconds = zip(*plain_events(random, 3), strict=True)
    arrays = [pa.array(users), pa.array(items), pa.array(seconds)]
    table = random.choice(_BUILDS)(random, arrays)
    path = put(folder, "log.parquet", parquet(table, random))
    return Case(source={"interactions": str(path)}, named=("log.parquet",))


_BUILDS: tuple[Callable[[Random, list[pa.Array]], pa.Table], ...] = (
    lambda r, a: pa.table(a, names=HEADER).slice(0, 0),
    lambda r, a: pa.table({}),
    lambda r, a: pa.table({"x": pa.array([], pa.null())}),
    lambda r, a: pa.table(
        [*a, a[0]], names=[*HEADER, r.choice(["user_id", "USER_ID", "User Id", "file_row_number", "filename"])]
    ),
    lambda r, a: pa.table(a, names=["user_id", "user_id", "timestamp"]),
    lambda r, a: pa.table(
        a, names=["user_id", "item_id", r.choice(["", " ", '"', "'", "a.b", "é" * 3000, "\n", "\0", "ts; DROP"])]
    ),
    lambda r, a: pa.table([*a, *([a[0]] * 1500)], names=[*HEADER, *(f"c{n}" for n in range(1500))]),
    lambda r, a: pa.table(a, names=HEADER).replace_schema_metadata({"pandas": "{broken", "x": "y" * 100_000}),
    lambda r, a: pa.table({"event": pa.StructArray.from_arrays(a, names=list(HEADER))}),
)


def lying_statistics(random: Random, folder: Path) -> Case:
    """The pages of one file with the statistics of another: what is in the pages comes out, or nothing."""
    true, claimed = _three_events(random), _three_events(random)
    pages, foot = _split(true)[0], _split(claimed)[1]
    path = put(folder, "log.parquet", pages + foot)
    source = {"interactions": str(path), "time_unit": "s"}
    events = tuple(Event(*row) for row in true)
    if any(time < 0 or not user.strip() for user, _, time in true):
        return Case(source=source, refused="log.parquet", named=("log.parquet",))
    return Case(source=source, events=events, may_refuse=True, named=("log.parquet", "the log"))


def _three_events(random: Random) -> list[tuple[str, str, int]]:
    times = (0, -5, 7, _T, _T, 99_999_999_999)
    return [(random.choice("abc\t~ "), random.choice("xyz"), random.choice(times)) for _ in range(3)]


def _split(rows: list[tuple[str, str, int]]) -> tuple[bytes, bytes]:
    """Pages and footer; of rows whose texts are equally long, the pages are equally long too."""
    columns = dict(zip(HEADER, map(list, zip(*rows, strict=True)), strict=True))
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression="none", use_dictionary=False)
    content = file.getvalue()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return content[:start], content[start:]
