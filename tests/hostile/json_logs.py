"""Kinds of JSON logs that are valid JSON, but not one flat object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.case import Case
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, packed, put


def json_shapes(random: Random, folder: Path) -> Case:
    """JSON that is valid, but not one flat object per line."""
    name = random.choice(["log.jsonl", "log.json", "log.ndjson", "log.json.gz"])
    records = [dict(zip(HEADER, e, strict=True)) for e in plain_events(random, random.choice([1, 6]))]
    text = random.choice(_JSON_SHAPES)(random, records)
    return Case(
        source={"interactions": str(put(folder, name, packed(name, text.encode("utf-8", "surrogatepass"))))},
        named=(name,),
    )


Records = list[dict[str, Any]]


def _lines(records: Sequence[Any]) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e300,
        10**30,
        "",
        " ",
        "x",
        [],
        {},
        [1, 2],
        [[]],
        {"$oid": "5"},
        {"a": {"b": [1]}},
        "\0",
        "\ud800",
    ),
)
_JSON_SHAPES: tuple[Callable[[Random, Records], str], ...] = (
    lambda r, rec: json.dumps(rec),
    lambda r, rec: json.dumps(rec, indent=2),
    lambda r, rec: json.dumps({"data": rec}),
    lambda r, rec: json.dumps({h: [x[h] for x in rec] for h in HEADER}),
    lambda r, rec: _lines([[*x.values()] for x in rec]),
    lambda r, rec: _lines([1, "two", None, *rec]),
    lambda r, rec: _lines([*rec, r.choice(_VALUES)]),
    lambda r, rec: _lines([{**x, r.choice(HEADER): r.choice(_VALUES)} for x in rec]),
    lambda r, rec: _lines([{h.upper(): v for h, v in x.items()} | x for x in rec]),
    lambda r, rec: _lines([{r.choice(["", "a.b", "'", '"', "\0", "\n", "é" * 400, "*"]): 1, **x} for x in rec]),
    lambda r, rec: _lines(rec).replace('"item_id"', '"user_id"'),
    lambda r, rec: _lines(rec).replace('"', "'"),
    lambda r, rec: _lines(rec).replace("}", ",}"),
    lambda r, rec: _lines(rec).replace("\n", ""),
    lambda r, rec: _lines(rec).replace("\n", ",\n"),
    lambda r, rec: _lines(rec).replace("{", "\n\n {"),
    lambda r, rec: _lines(rec).replace("}", "} // done"),
    lambda r, rec: "\ufeff" + _lines(rec),
    lambda r, rec: _lines(rec) + '{"deep": ' + "[" * 9000 + "]" * 9000 + "}\n",
    lambda r, rec: _lines([{**x, "long": "y" * 17_000_000} for x in rec[:1]]),
    lambda r, rec: _lines([x | {f"k{n}": n for n in range(2000)} for x in rec]),
    lambda r, rec: _lines([{**x, "timestamp": r.choice([float("nan"), float("inf"), -0.0, 1e18, 1.5e9])} for x in rec]),
)
