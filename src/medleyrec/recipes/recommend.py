"""Recommendations of a run for all users of its dataset, streamed to a file."""

from __future__ import annotations

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
from medleyrec.schema import PAD, EvalEvents, InputError

BLOCK = 16_384  # users at a time
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])


def recommend_all(run: Run, out: Path, listener: Listener, *, k: int = 10, leave_out_seen: bool | None = None) -> int:
    """Write (user_id, rank, item_id, score) for the k next items of every user, given all of its events.

    `out` ends in .parquet or .csv. Returns the number of rows.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {out} does not say its format; let it end in .parquet or .csv")
    data, rows = run.dataset, 0
    item_ids = np.array(data.item_ids, object)
    candidates = torch.from_numpy(np.flatnonzero(run.known))
    with storage.atomic_file(out) as partial:
        writer = pq.ParquetWriter(partial, SCHEMA) if out.suffix == ".parquet" else pa_csv.CSVWriter(partial, SCHEMA)
        with writer:
            for start in range(0, len(data), BLOCK):
                events = _everything(data, start, min(start + BLOCK, len(data)))
                seen = seen_items(data.items, events) if run.leaves_out(leave_out_seen) else None
                batches = batches_of(run.split, events, max_length=run.model.max_length)
                items, scores = top_items(run.ranker, batches, candidates, k, seen=seen)
                table = _table(data, events, items, scores, item_ids)
                writer.write_table(table)
                rows += len(table)
                listener.step("recommend", start + len(events), len(data))
    return rows


def _everything(data: Dataset, first: int, last: int) -> EvalEvents:
    """For users first..last-1: the event that would come after all that is known."""
    users = np.arange(first, last)
    return EvalEvents(users, data.offsets[users], data.offsets[users + 1], np.zeros(len(users), np.int32))


def _table(
    data: Dataset,
    events: EvalEvents,
    items: np.typing.NDArray[np.int32],
    scores: np.typing.NDArray[np.float32],
    item_ids: np.typing.NDArray[np.object_],
) -> pa.Table:
    real = items != PAD
    users = np.array(data.user_ids[int(events.users[0]) : int(events.users[-1]) + 1], object)
    rank = np.broadcast_to(np.arange(1, items.shape[1] + 1, dtype=np.int32), items.shape)
    columns = [
        np.repeat(users, items.shape[1]).reshape(items.shape)[real],
        rank[real],
        item_ids[items[real]],
        scores[real],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
