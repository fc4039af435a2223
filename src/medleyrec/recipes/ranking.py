"""Rank the events of a split with any Ranker: batches of histories from the dataset, ranks from evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from medleyrec.dataset.batches import history_batches
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import event_values, metric_names
from medleyrec.evaluation.ranking import Ranks, rank_events, seen_items
from medleyrec.models.base import Ranker
from medleyrec.schema import Batch, EvalEvents, Int64s

SCORES = 1 << 23  # scores of one batch: 32 MB


def candidates_of(dataset: Dataset, device: torch.device | str = "cpu") -> Tensor:
    """All items of the filtered log."""
    return torch.arange(1, dataset.num_log_items, device=device)


def batches_of(
    dataset: Dataset, events: EvalEvents, *, max_length: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[Int64s, Batch]]:
    rows = max(16, min(1024, SCORES // dataset.num_log_items))
    return history_batches(dataset.items, dataset.times, events, max_length=max_length, rows=rows, device=device)


def ranks_of(
    ranker: Ranker,
    split: Split,
    events: EvalEvents,
    *,
    max_length: int,
    mask_seen: bool = False,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Ranks:
    dataset = split.dataset
    return rank_events(
        ranker,
        batches_of(dataset, events, max_length=max_length, device=device),
        events,
        candidates_of(dataset, device),
        user_names=lambda user: dataset.user_ids[user],
        seen=seen_items(dataset.items, events) if mask_seen else None,
        progress=progress,
    )


def metric_means(ranks: Ranks, cutoffs: Iterable[int]) -> dict[str, float]:
    values = event_values(ranks, metric_names(sorted(cutoffs)))
    return dict(zip(values.names, np.mean(values.matrix, axis=0).tolist(), strict=True))
