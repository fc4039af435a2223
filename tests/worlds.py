"""Small worlds whose answers are known, shared by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from medleyrec.dataset import Dataset, PrepareConfig, Split, leave_one_out, prepare
from medleyrec.dataset.sql import connect
from medleyrec.schema import PAD, Batch, CanonicalTables, Facts, Features

START, DAY = 1_600_000_000, 86_400  # seconds


def batch(items: torch.Tensor, times: torch.Tensor | None = None) -> Batch:
    """Rows of items, padded on the right; every event is an hour after the one before it."""
    lengths = (items != PAD).sum(1)
    hours = torch.arange(items.shape[1]).expand_as(items) * 3600 if times is None else times
    none = torch.zeros_like(items)
    return Batch(items, torch.where(items != PAD, hours, 0), lengths, none, torch.arange(len(items)))


def taught(items: torch.Tensor, targets: torch.Tensor) -> Batch:
    """The same with targets (B, L), PAD where there is none."""
    plain = batch(items)
    return Batch(plain.items, plain.times, plain.lengths, targets, plain.users, int((targets != PAD).sum()))


def facts(*, items: int, **more: int) -> Facts:
    return Facts(num_items=items, **more)  # type: ignore[arg-type]


def features(
    num_items: int, *, text: int = 6, image: int = 5, seed: int = 0, missing: tuple[int, ...] = ()
) -> Features:
    """Random content of all items but those `missing` their picture."""
    rng = np.random.default_rng(seed)
    vectors = {n: rng.normal(size=(num_items, w)).astype(np.float16) for n, w in (("text", text), ("image", image))}
    present = {n: np.arange(num_items) > 0 for n in vectors}
    for row in missing:
        present["image"][row] = False
    for name, table in vectors.items():
        table[~present[name]] = 0
    return Features(vectors=vectors, present=present)


def tables(
    events: list[tuple[str, str, int]],
    items: list[dict[str, object]] | None = None,
    *,
    extra: dict[str, list[object]] | None = None,
    fingerprint: str = "",
) -> CanonicalTables:
    """Canonical tables of (user, item, seconds) in input order."""
    connection = connect()
    columns: dict[str, list[object]] = {
        "user_id": [e[0] for e in events],
        "item_id": [e[1] for e in events],
        "timestamp": [e[2] for e in events],
        "order": list(range(len(events))),
        **(extra or {}),
    }
    log = pa.table(columns)
    if not events:
        log = log.cast(
            pa.schema([("user_id", "string"), ("item_id", "string"), ("timestamp", "int64"), ("order", "int64")])
        )
    known = items if items is not None else [{"item_id": i} for i in sorted({e[1] for e in events})]
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("title", pa.string()),
            ("description", pa.string()),
            ("categories", pa.list_(pa.list_(pa.string()))),
            ("brand", pa.string()),
            ("price", pa.float64()),
            ("image", pa.string()),
        ]
    )
    goods = pa.Table.from_pylist([{n: item.get(n) for n in schema.names} for item in known], schema=schema)
    connection.register("given_log", log)
    connection.register("given_items", goods)
    return CanonicalTables(
        connection, connection.sql("FROM given_log"), connection.sql("FROM given_items"), fingerprint=fingerprint
    )


def circle(users: int = 40, items: int = 12, length: int = 9) -> list[tuple[str, str, int]]:
    """Everyone walks the same circle of items from a place of their own: the next item is known for sure."""
    return [
        (f"u{u:03d}", f"i{(u + t) % items:02d}", 1_600_000_000 + 86_400 * t)
        for u in range(users)
        for t in range(length)
    ]


def noise(users: int = 60, items: int = 12, length: int = 9, *, seed: int = 0) -> list[tuple[str, str, int]]:
    """Items drawn at random: there is nothing to learn."""
    drawn = np.random.default_rng(seed).integers(items, size=(users, length))
    return [(f"u{u:03d}", f"i{drawn[u, t]:02d}", START + DAY * t) for u in range(users) for t in range(length)]


def small(folder: Path, events: list[tuple[str, str, int]]) -> tuple[Dataset, Split]:
    dataset, _ = prepare(tables(events), folder, PrepareConfig(min_user_events=1, min_item_events=1))
    return dataset, leave_one_out(dataset)
