"""Kinds of items files, beside a good log."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from tests.hostile.case import EASY, Case
from tests.hostile.damage import damaged
from tests.hostile.typed import any_array
from tests.hostile.values import BLANK_IDS, NASTY_TEXTS, nasty_id, plain_events
from tests.hostile.writing import HEADER, NAMES, TEXTS, packed, parquet, put, unpacked, written

FILES = tuple(name.replace("log", "items") for name in NAMES)
COLUMNS = ("item_id", "title", "description", "categories", "brand", "price", "image")
PRICES = ("", "1", "12.30", "$1,299.00", "12,30 EUR", "-5", "1e400", "nan", "free", "1-2", "9" * 400, "$" * 99, "١٢")
CATEGORIES = (
    *(
        "",
        "a",
        "a|b",
        "a > b|a > c",
        "[]",
        "['a', 'b']",
        '["a"]',
        "[['a'], ['b', 'c']]",
        "[[[['a']]]]",
        "['a",
        "a]",
        "[1, null]",
    ),
    *(
        "|" * 500,
        "[" * 2000,
        "[" + "'a'," * 3000 + "]",
        "{'a': 1}",
        "['it''s']",
        '["\\ud800"]',
        ">",
        "a|",
        "[u'x', u\"y\"]",
        "\0",
    ),
)


def _log(random: Random, folder: Path, items: list[str]) -> Path:
    rows = [(user, random.choice(items), time) for user, _, time in plain_events(random, 12)]
    rows += [("u0", item, 1_400_000_000 + n) for n, item in enumerate(items)]
    return put(folder, "log.csv", written("log.csv", HEADER, rows))


def nasty_titles(random: Random, folder: Path) -> Case:
    """Legal but nasty ids and titles, written properly: every title must come out as it was written."""
    name = random.choice(FILES)
    titles = {nasty_id(random): _title(random) for _ in range(random.choice([1, 4, 12]))}
    rows = [(item, title, *_others(random)) for item, title in titles.items()]
    log = _log(random, folder, list(titles))
    path = put(folder, name, written(name, COLUMNS, rows, random))
    wanted = {item: title if title.strip(" ") else None for item, title in titles.items()}
    return Case(source={"interactions": str(log), "items": str(path)}, titles=wanted, named=(name, "log.csv"))


def _title(random: Random) -> str:
    """A JSON list is a text of several parts, so it does not come out as it was written."""
    while (title := random.choice(NASTY_TEXTS)).startswith("[") or "\0" in title:
        pass
    return title


def _others(random: Random) -> tuple[Any, ...]:
    return (
        random.choice(NASTY_TEXTS).replace("\0", ""),
        random.choice(CATEGORIES).replace("\0", ""),
        random.choice(NASTY_TEXTS).replace("\0", ""),
        random.choice(PRICES),
        random.choice(["", "x.jpg", "http://x/y.jpg", "../x.jpg", "data:image/png;base64,xx"]),
    )


def nameless_items(random: Random, folder: Path) -> Case:
    """One item has no id: the sentence must name its row."""
    name = random.choice([t.replace("log", "items") for t in TEXTS])
    rows: list[list[Any]] = [[f"i{n}", f"title {n}"] for n in range(5)]
    row = random.randrange(1, 5)
    rows[row][0] = random.choice(BLANK_IDS)
    counted = "record" if "json" in name else "data row"
    path = put(folder, name, written(name, COLUMNS[:2], rows, random))
    log = _log(random, folder, ["i0", "i1"])
    return Case(
        source={"interactions": str(log), "items": str(path)}, refused=rf"^{name}, {counted} {row + 1}\b", named=(name,)
    )


def damaged_items(random: Random, folder: Path) -> Case:
    name = random.choice(FILES)
    rows = [(f"i{n}", f"Title {n}", "some text", "a|b", "B", 5, "x.png") for n in range(random.choice([1, 8]))]
    content = written(name, COLUMNS, [tuple(map(str, r)) for r in rows], random)
    if name.endswith((".gz", ".zst")) and random.random() < 0.3:
        content = packed(name, damaged(random, unpacked(name, content)))
    else:
        content = damaged(random, content)
    path = put(folder, name, content)
    log = _log(random, folder, ["i0", "i1"])
    return Case(source={"interactions": str(log), "items": str(path)}, named=(name, "log.csv"))


def odd_items(random: Random, folder: Path) -> Case:
    """Columns of any type in Parquet, any value in JSON lines."""
    log = _log(random, folder, ["0", "1", "a"])
    if random.random() < 0.6:
        name = "items.parquet"
        columns: dict[str, Any] = {"item_id": ["0", "1", "a", "b"]}
        columns |= {c: any_array(random, 4) for c in random.sample(COLUMNS[1:], 3)}
        if random.random() < 0.1:
            columns["item_id"] = any_array(random, 4)
        content = parquet(pa.table(columns), random)
    else:
        name = "items.jsonl"
        records = [{"item_id": i} | {c: random.choice(_VALUES) for c in random.sample(COLUMNS[1:], 3)} for i in "01ab"]
        content = "".join(json.dumps(r) + "\n" for r in records).encode()
    path = put(folder, name, content)
    return Case(
        source={"interactions": str(log), "items": str(path)},
        prepare={**EASY, "whole_catalogue": random.random() < 0.5},
        named=(name, "log.csv"),
    )


_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1.5,
        10**40,
        "",
        "x",
        [],
        ["a", None],
        [["a"], ["b", 1]],
        [[[1]]],
        {"en": "x"},
        [{"a": 1}],
        "[1, 2",
        "\0",
    ),
    *(["x"] * 3000, "[" * 500, "🎁" * 3000, [[]], [None], [[None]], '[["a"], "b"]', "null", "NaN"),
)
