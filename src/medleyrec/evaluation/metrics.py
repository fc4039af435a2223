"""Metrics as functions of the rank alone.

Letters:  E events   M metric columns   k cutoff

A rank is 1 + better + tied / 2, so a target tied with one other for the first place has rank 1.5: it is a hit at 2, not
at 1, its NDCG is 1 / log2(2.5) and its reciprocal rank 1 / 1.5. With one target per event the ideal DCG is 1.
A column is named `metric@k`: "hit_rate@10", "ndcg@10", "mrr@10".
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medleyrec.schema import Floats, InputError, Int64s

if TYPE_CHECKING:
    from medleyrec.evaluation.ranking import Ranks


def hit_rate(rank: Floats, k: int) -> Floats:
    """1 where the target is among the first k."""
    return (rank <= k).astype(np.float64)


def ndcg(rank: Floats, k: int) -> Floats:
    """1 / log2(1 + rank) where the target is among the first k."""
    return np.where(rank <= k, 1.0 / np.log2(1.0 + rank), 0.0)


def mrr(rank: Floats, k: int) -> Floats:
    """1 / rank where the target is among the first k."""
    return np.where(rank <= k, 1.0 / rank, 0.0)


METRICS: dict[str, Callable[[Floats, int], Floats]] = {"hit_rate": hit_rate, "ndcg": ndcg, "mrr": mrr}
LABELS = {"hit_rate": "Hit rate", "ndcg": "NDCG", "mrr": "MRR"}
CUTOFFS = (5, 10, 20)


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Metric values per event; a row belongs to the event of the same number."""

    names: tuple[str, ...]
    matrix: Floats  # (E, M)

    def __getitem__(self, name: str) -> Floats:
        if name not in self.names:
            raise InputError(f"no metric {name!r} was computed; there are: {', '.join(self.names)}")
        return self.matrix[:, self.names.index(name)]

    def take(self, rows: Int64s) -> Values:
        return Values(self.names, self.matrix[rows])

    def means(self) -> dict[str, float]:
        if not len(self):
            raise InputError("there is no event to evaluate; the split has no test events")
        return dict(zip(self.names, self.matrix.mean(0).tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.matrix)

    def __repr__(self) -> str:
        told = ", ".join(f"{n}={v:.4f}" for n, v in self.means().items()) if len(self) else "no metrics"
        return f"Values({len(self)} events, {told})"


def metric_names(cutoffs: Iterable[int] = CUTOFFS, metrics: Iterable[str] = METRICS) -> tuple[str, ...]:
    """All of `metrics` at all `cutoffs`, metric by metric."""
    cutoffs = tuple(cutoffs)
    return tuple(f"{metric}@{k}" for metric in metrics for k in cutoffs)


def parse_metric(name: str) -> tuple[str, int]:
    """("ndcg", 10) from "ndcg@10". Raises InputError on an unknown metric or a cutoff below 1."""
    metric, _, cutoff = name.partition("@")
    if metric not in METRICS:
        near = difflib.get_close_matches(metric, METRICS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(METRICS)}"
        raise InputError(f"unknown metric {name!r}; {hint}")
    if not (cutoff.isascii() and cutoff.isdigit() and int(cutoff) >= 1):
        raise InputError(f"metric {name!r} has no cutoff of at least 1; write it as {metric}@10")
    return metric, int(cutoff)


def event_values(ranks: Ranks, names: Sequence[str] | None = None) -> Values:
    """The named metrics, or all of them at 5, 10 and 20, per event."""
    chosen = metric_names() if names is None else tuple(names)
    parsed = [parse_metric(name) for name in chosen]
    rank = ranks.rank
    columns = [METRICS[metric](rank, k) for metric, k in parsed]
    return Values(chosen, np.stack(columns, axis=1) if columns else np.empty((len(rank), 0)))


def mean_over_seeds(runs: Sequence[Values]) -> Values:
    """One value per event from several trainings of the same model: their mean."""
    if not runs:
        raise ValueError("no run to average")
    if any(run.names != runs[0].names or len(run) != len(runs[0]) for run in runs):
        raise ValueError(f"runs of different metrics or events cannot be averaged: {runs}")
    return Values(runs[0].names, np.mean([run.matrix for run in runs], axis=0))
