"""Tables that several models share: means by group, how one-sided a mixture is, the score by tower.

Letters:  E test events   N history events   M parts of an item   K columns   C candidates   H width
Score parts are arithmetic, not causation: the score is a sum over towers, and each part is told as its distance from
that tower's mean over the candidates.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from medleyrec.evaluation.insight import Plot, Table
from medleyrec.evaluation.ranking import rank_events
from medleyrec.models.base import SequenceModel
from medleyrec.recipes.ranking import batches_of, candidates_of
from medleyrec.recipes.run import Run
from medleyrec.schema import EvalEvents, Floats, Int64s

HIT = 10
LARGEST = {"up to .4": 0.4, "up to .6": 0.6, "up to .8": 0.8, "up to .95": 0.95, "beyond": 1.0}
"""Classes of the largest share in a mixture."""


def collapse(shares: Floats, names: tuple[str, ...], *, title: str, note: str) -> Table:
    """Events by their largest share, one row per name; shares (N, M, K)."""
    largest = np.searchsorted(list(LARGEST.values()), shares.max(-1) - 1e-6)  # (N, M); rounding may pass 1
    classes = np.stack([(largest == i).mean(0) for i in range(len(LARGEST))], 1)  # (M, classes)
    rows = {name: tuple(classes[m].tolist()) for m, name in enumerate(names)}
    count = dict.fromkeys(names, len(shares))
    return Table(title=title, note=note, plot="shares", columns=tuple(LARGEST), rows=rows, count=count)


def score_parts(run: Run, model: SequenceModel, events: EvalEvents, table: Tensor) -> Table:
    """Each tower's part of the target's score above its mean over the candidates, for hits and misses.

    For models whose item rows are parts side by side.
    """
    candidates = candidates_of(run.split)
    ranks = rank_events(run.ranker, batches_of(run.split, events, max_length=model.max_length), events, candidates)
    parts = np.zeros((len(events), len(model.rows.parts)))
    centre = table[candidates].mean(0)
    for rows, batch in batches_of(run.split, events, max_length=model.max_length):
        target = table[events.targets[rows].astype(np.int64)]
        product = model.last_state(batch, table) * (target - centre)
        parts[rows] = product.view(len(rows), parts.shape[1], -1).sum(-1).numpy()
    return grouped(
        "Score of the target by tower, above the mean candidate",
        "Arithmetic, not causation: a tower with a large part need not be the reason for a hit.",
        parts,
        np.where(ranks.rank <= HIT, 0, 1),
        [f"hit@{HIT}", "miss"],
        columns=model.rows.parts,
        plot="signed",
    )


def grouped(
    title: str,
    note: str,
    values: Floats,
    group: Int64s,
    names: list[str],
    *,
    plot: Plot,
    columns: tuple[str, ...] = (),
) -> Table:
    """Mean of values (N, K) in each group that has any."""
    there = [i for i in range(len(names)) if (group == i).any()]
    return Table(
        title=title,
        note=note,
        plot=plot,
        columns=columns or experts(values.shape[1]),
        rows={names[i]: tuple(values[group == i].mean(0).tolist()) for i in there},
        count={names[i]: int((group == i).sum()) for i in there},
    )


def experts(count: int) -> tuple[str, ...]:
    return tuple(f"expert {k + 1}" for k in range(count))
