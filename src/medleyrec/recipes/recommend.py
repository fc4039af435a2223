"""Recommendations of a run for all users of its dataset, streamed to a file.

Letters:  n users of a block   k places
A block of users is scored, named and written before the next is read: memory grows with the catalogue, not with users.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch

from medleyrec import storage
from medleyrec.dataset.dataset import Dataset
from medleyrec.evaluation.ranking import seen_items, top_items
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.ranking import batches_of
from medleyrec.recipes.run import Run
from medleyrec.schema import ITEM, PAD, USER, EvalEvents, InputError, Int32s

BLOCK = 16_384  # users at a time
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])


def recommend_all(run: Run, out: Path, listener: Listener, *, k: int = 10, leave_out_seen: bool | None = None) -> int:
    """Write (user_id, rank, item_id, score) for the k next items of every user, given all of its events.

    `out` ends in .parquet or .csv. Returns the number of rows.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {out} does not say its format; let it end in .parquet or .csv")
    data, rows = run.dataset, 0
    item_ids = pq.read_table(data.folder / "catalogue.parquet", columns=[ITEM]).column(ITEM).combine_chunks()
    candidates = torch.from_numpy(np.flatnonzero(run.known))
    with storage.atomic_file(out) as partial:
        writer = pq.ParquetWriter(partial, SCHEMA) if out.suffix == ".parquet" else pa_csv.CSVWriter(partial, SCHEMA)
        with writer:
            for start, user_ids in _users(data):
                events = _everything(data, start, start + len(user_ids))
                seen = seen_items(data.items, events) if run.leaves_out(leave_out_seen) else None
                batches = batches_of(run.split, events, max_length=run.model.max_length)
                items, scores = top_items(run.ranker, batches, candidates, k, seen=seen)
                table = _table(user_ids, item_ids, items, scores)
                writer.write_table(table)
                rows += len(table)
                listener.step("recommend", start + len(events), len(data))
    return rows


def _users(data: Dataset) -> Iterator[tuple[int, pa.Array]]:
    """Number of the first and external ids of all, a block of users at a time."""
    start = 0
    for part in pq.ParquetFile(data.folder / "users.parquet").iter_batches(BLOCK, columns=[USER]):
        yield start, part.column(0)
        start += len(part)


def _everything(data: Dataset, first: int, last: int) -> EvalEvents:
    """For users first..last-1: the event that would come after all that is known."""
    users = np.arange(first, last)
    return EvalEvents(users, data.offsets[users], data.offsets[users + 1], np.zeros(len(users), np.int32))


def _table(user_ids: pa.Array, item_ids: pa.Array, items: Int32s, scores: np.typing.NDArray[np.float32]) -> pa.Table:
    """items, scores (n, k); places without an item are left out."""
    users, places = np.nonzero(items != PAD)
    columns = [
        user_ids.take(pa.array(users)),
        pa.array(places.astype(np.int32) + 1),
        item_ids.take(pa.array(items[users, places] - 1)),  # row 0 is padding
        pa.array(scores[users, places]),
    ]
    return pa.table(columns, schema=SCHEMA)
