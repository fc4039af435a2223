"""What is recommended, rather than how well: how much of the catalogue, and how popular it is.

Letters:  E events   k recommended items   V items, row 0 being padding   C candidates
PAD in a list of recommendations means that candidates ran out; it counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medleyrec.schema import PAD, Int32s, Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Facts of the first k items of all events."""

    k: int
    coverage: float
    """Share of the candidates that anyone is recommended."""
    mean_popularity: float
    """Training events of a recommended item, averaged over all recommendations."""
    popularity_percentile: float
    """0 to 100: share of the candidates that are less popular (ties count half), averaged likewise."""


def reach(ids: Int32s, candidates: Int64s, training_counts: Int64s) -> Reach:
    """ids (E, k) item rows, candidates (C,) item rows, training_counts (V,) training events per item row."""
    shown = np.bincount(ids[ids != PAD], minlength=len(training_counts))  # (V,) times recommended
    total = max(int(shown.sum()), 1)
    counts = training_counts[candidates]
    ordered = np.sort(counts)
    below, upto = np.searchsorted(ordered, counts, "left"), np.searchsorted(ordered, counts, "right")
    percentiles = 50.0 * (below + upto) / len(counts)  # (C,)
    weights = shown[candidates]
    return Reach(
        k=ids.shape[1],
        coverage=float(np.count_nonzero(weights) / len(candidates)),
        mean_popularity=float(weights @ counts / total),
        popularity_percentile=float(weights @ percentiles / total),
    )
