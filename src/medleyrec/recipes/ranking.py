"""Rank the events of a split with any Ranker: batches of histories from the dataset, ranks from evaluation.

No event is dropped. Without a history there is nothing that a model could look at, and an item unknown at a time cut
is none that it learnt: such events are ranked by recent popularity, for every model alike. Where the candidates are the
items known at the cut, an unknown target counts as missed: it stands behind all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from medleyrec.dataset.batches import history_batches
from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import event_values, metric_names
from medleyrec.evaluation.negatives import NEGATIVES, Negatives
from medleyrec.evaluation.ranking import Ranks, rank_events, seen_items
from medleyrec.models import baseline
from medleyrec.models.base import Ranker
from medleyrec.schema import PAD, Batch, EvalEvents, Int64s, Mask

SCORES = 1 << 23  # scores of one batch, where a ranker makes all of them at once: 32 MB
ROWS = 256  # of a batch, at least: fewer, and encoding them is slow
FALLBACK = "recent-popularity"
LOG, KNOWN, CATALOGUE = "log", "known", "catalogue"


class WithFallback:
    """A ranker that leaves histories without events to another one."""

    def __init__(self, ranker: Ranker, fallback: Ranker) -> None:
        self.ranker, self.fallback, self.name = ranker, fallback, ranker.name

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        scores, empty = self.ranker.scores(batch, candidates), batch.lengths == 0
        if not bool(empty.any()):
            return scores
        return torch.where(empty[:, None], self.fallback.scores(batch, candidates).to(scores), scores)  # (B, C)


@lru_cache(maxsize=4)
def fallback_of(split: Split) -> Ranker:
    """Recent popularity in the training part."""
    return fitted_baseline(FALLBACK, split)


def fitted_baseline(name: str, split: Split) -> Ranker:
    log, data = split.training_log(), split.dataset
    taken = np.asarray(data.items[log.events]), np.asarray(data.times[log.events]), log.users
    return baseline(name).fit(*taken, num_items=data.num_items)


def candidate_kind(split: Split, wanted: str | None = None) -> str:
    """What is ranked where nothing was asked for: leave-one-out ranks all items of the log, as published."""
    return wanted or (KNOWN if split.is_time_cut else LOG)


def candidates_of(split: Split, wanted: str | None = None, device: torch.device | str = "cpu") -> Tensor:
    """(C,) rising item rows."""
    kind, data = candidate_kind(split, wanted), split.dataset
    if kind == KNOWN:
        return torch.from_numpy(np.flatnonzero(split.known)).to(device)
    return torch.arange(1, data.num_log_items if kind == LOG else data.num_items, device=device)


def negatives_of(
    split: Split, events: EvalEvents, wanted: str | None = None, *, count: int = NEGATIVES, seed: int = 0
) -> Negatives:
    """Items that the users of these events never had, to rank each target among: the same for every model."""
    data = split.dataset
    candidates = candidates_of(split, wanted).numpy()
    return Negatives.of(events, data.items, data.offsets, candidates, count=count, seed=seed)


def batches_of(
    split: Split, events: EvalEvents, *, max_length: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[Int64s, Batch]]:
    data = split.dataset
    rows = max(ROWS, min(1024, SCORES // data.num_items))
    return history_batches(data.items, data.times, events, max_length=max_length, rows=rows, device=device)


def ranks_of(
    ranker: Ranker,
    split: Split,
    events: EvalEvents,
    *,
    max_length: int,
    candidates: str | None = None,
    mask_seen: bool = False,
    negatives: Negatives | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Ranks:
    """Ranks of all `events`, in their order. `candidates` is one of log, known, catalogue; see `candidate_kind`.

    negatives: see `negatives_of`; each target is then ranked among these alone, and a missed one is still behind all.
    """
    chosen = candidates_of(split, candidates, device)
    unknown = ~split.known[events.targets]
    missed = unknown & ~_among(chosen, split.dataset.num_items)[events.targets]
    better, tied = np.zeros((2, len(events)), np.int32)
    better[missed] = len(chosen)
    if progress is not None and missed.any():
        progress(int(missed.sum()))
    if split.unanswerable(events).any():
        ranker = WithFallback(ranker, fallback_of(split))
    for who, rows in ((ranker, ~unknown), (fallback_of(split) if unknown.any() else ranker, unknown & ~missed)):
        if not rows.any():
            continue
        some = events.take(np.flatnonzero(rows))
        found = rank_events(
            who,
            batches_of(split, some, max_length=max_length, device=device),
            some,
            chosen,
            user_names=lambda user: split.dataset.user_ids[user],
            seen=seen_items(split.dataset.items, some) if mask_seen else None,
            negatives=None if negatives is None else negatives.take(np.flatnonzero(rows)),
            progress=progress,
        )
        better[rows], tied[rows] = found.better, found.tied
    return Ranks(better, tied)


def _among(candidates: Tensor, num_items: int) -> Mask:
    """(V,) whether an item is a candidate."""
    mask = np.zeros(num_items, bool)
    mask[candidates.cpu().numpy()] = True
    mask[PAD] = False
    return mask


def metric_means(ranks: Ranks, cutoffs: Iterable[int]) -> dict[str, float]:
    values = event_values(ranks, metric_names(sorted(cutoffs)))
    return dict(zip(values.names, np.mean(values.matrix, axis=0).tolist(), strict=True))
