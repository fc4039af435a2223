"""Logs of any size for the benchmarks: power-law popularity, ids of realistic form, the same bytes for the same seed.

Letters:  E events   U users   V items
Files: `log.parquet` (user_id, item_id, timestamp) in no particular order, and `goods.parquet` (item_id, title,
categories). Activity of users and popularity of items fall off as powers of their rank; one event in twenty has the
user and the second of the one before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK = 1 << 20  # events
START, SPAN = 1_400_000_000, 10 * 365 * 86_400  # seconds
TIED = 0.05
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)
SHORTEST, LONGEST = 14, 28  # characters of a user id
WORDS = [
    "steel",
    "oak",
    "linen",
    "travel",
    "garden",
    "winter",
    "kids",
    "pocket",
    "wall",
    "desk",
    "lamp",
    "cup",
    "chair",
]


def generate(folder: Path, *, events: int, users: int, items: int, seed: int = 0) -> tuple[Path, Path]:
    """(log, goods); found there, they are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    log, goods = folder / "log.parquet", folder / "goods.parquet"
    rng = np.random.default_rng(seed)
    user_ids, item_ids = names(rng, users, shortest=SHORTEST, longest=LONGEST), names(rng, items, shortest=10)
    if not goods.exists():
        write(goods, (catalogue(rng, item_ids[at : at + BLOCK]) for at in range(0, items, BLOCK)))
    if not log.exists():
        sizes = [min(BLOCK, events - at) for at in range(0, events, BLOCK)]
        write(log, (block(rng, size, user_ids, item_ids) for size in sizes))
    return log, goods


def names(rng: np.random.Generator, count: int, *, shortest: int, longest: int = 0) -> pa.Array:
    """Different ids of capital letters and digits."""
    longest = max(shortest, longest)
    length = rng.integers(shortest, longest + 1, count)
    offsets = np.concatenate([[0], length.cumsum()]).astype(np.int32)
    text = LETTERS[rng.integers(0, 32, int(offsets[-1]), dtype=np.uint8)]
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def block(rng: np.random.Generator, size: int, users: pa.Array, items: pa.Array) -> pa.Table:
    who, times = skewed(rng, size, len(users), power=1.5), START + rng.integers(0, SPAN, size)
    tied = np.flatnonzero(rng.random(size - 1) < TIED) + 1
    who[tied], times[tied] = who[tied - 1], times[tied - 1]
    what = skewed(rng, size, len(items), power=3.0)
    return pa.table({"user_id": users.take(pa.array(who)), "item_id": items.take(pa.array(what)), "timestamp": times})


def skewed(rng: np.random.Generator, size: int, count: int, *, power: float) -> Any:
    """Numbers below `count`; number r is drawn with a frequency that falls off as r ** (1 / power - 1)."""
    return (rng.random(size) ** power * count).astype(np.int64)


def catalogue(rng: np.random.Generator, ids: pa.Array) -> pa.Table:
    words = pa.array(WORDS)
    drawn = [words.take(pa.array(rng.integers(0, len(WORDS), len(ids)))) for _ in range(4)]
    groups = rng.integers(0, 40, len(ids))
    categories = [[["Shop", f"group {g}", f"shelf {g}-{s}"]] for g, s in zip(groups, rng.integers(0, 9, len(ids)))]  # noqa: B905
    return pa.table(
        {"item_id": ids, "title": pa.compute.binary_join_element_wise(*drawn, " "), "categories": categories}
    )


def write(path: Path, tables: Any) -> None:
    partial = path.with_name(f".{path.name}")
    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    partial.replace(path)
