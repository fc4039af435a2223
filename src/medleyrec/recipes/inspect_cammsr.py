"""What a trained CAMMSR does: how much its experts count in each part, by category; its router; its towers.

Letters:  N history events   M parts of an item   K experts   L positions   B rows
"""

from __future__ import annotations

import numpy as np
import torch

from medleyrec import storage
from medleyrec.evaluation.insight import Table
from medleyrec.models.cammsr import CAMMSR
from medleyrec.models.routers import AttentiveRouter
from medleyrec.recipes.inspect_nulls import by_item, category_null, drivers_of, planted_null
from medleyrec.recipes.inspect_tables import collapse, experts, score_parts
from medleyrec.recipes.prepare import TRUTH
from medleyrec.recipes.ranking import batches_of
from medleyrec.recipes.run import Run
from medleyrec.recipes.shuffles import EVERYTHING, groups_by, most_specific
from medleyrec.schema import PAD, Batch, EvalEvents, Floats, Int64s

ONE_HOT = 0.95
SATURATION = f"share of events whose largest part weight is above {ONE_HOT}"
EXPLAINED = "share of the variance of the items' part weights that their categories explain"
PLANTED = "how much more a part weighs where it was planted than where the other was"
SHOWN_EVENTS = 12


def cammsr_tables(run: Run, model: CAMMSR, events: EvalEvents) -> tuple[dict[str, float], list[Table]]:
    """Figures and tables; what is off in the model is left out."""
    batches = [b for _, b in batches_of(run.split, events, max_length=model.max_length)]
    figures: dict[str, float] = {}
    tables: list[Table] = []
    with torch.inference_mode():
        table = model.rows.all()
        if model.guidance is not None and model.settings.guidance:
            weights, items = _weights(model, batches, table)
            figures[SATURATION] = float((weights.max(-1) > ONE_HOT).mean())
            tables += _weighing(run, model, weights, items)
            figures |= _beside_chance(run, tables[0], weights, items)
        tables.append(_gates(model, batches, table))
        tables += _maps(model, batches, table)
        tables.append(score_parts(run, model, events, table))
    return figures, tables


def _weights(model: CAMMSR, batches: list[Batch], table: torch.Tensor) -> tuple[Floats, Int64s]:
    """Of all history events: weights (N, M) and item rows (N,)."""
    assert model.guidance is not None
    weights, items = [], []
    for b in batches:
        real = b.items != PAD
        told, _ = model.guidance(model.embedded(b, table)[1], b.items)  # (M, B, L)
        weights.append(told[:, real].T.double().numpy())
        items.append(b.items[real].numpy())
    return np.concatenate(weights), np.concatenate(items)


def _weighing(run: Run, model: CAMMSR, weights: Floats, items: Int64s) -> list[Table]:
    masks = groups_by(run, items)
    parts = model.settings.items
    return [
        Table(
            title="Category guidance: weight of each part, by category",
            note="How much the experts' answer counts in each part, mean over the events of the histories. The weights "
            "are told by heads that learn through them alone, so they need not say which part matters.",
            plot="shares",
            columns=parts,
            rows={name: tuple(weights[mask].mean(0).tolist()) for name, mask in masks.items()},
            count={name: int(mask.sum()) for name, mask in masks.items()},
        ),
        collapse(
            weights[:, None],
            (EVERYTHING,),
            title="Category guidance: saturation",
            note="Events by the largest weight. Where most lie beyond .95, a single part gets the experts' answer.",
        ),
    ]


def _beside_chance(run: Run, by_category: Table, weights: Floats, items: Int64s) -> dict[str, float]:
    """Whether the weights tell the categories, and what was planted in them where that is known."""
    told, rows = by_item(weights, items)
    labels = most_specific(*run.dataset.categories)[rows]
    nulls = {EXPLAINED: category_null(told[labels >= 0], labels[labels >= 0])}
    truth = run.folder.parent.parent / TRUTH
    if truth.exists():
        drivers = drivers_of(storage.read_json(truth))
        nulls[PLANTED] = planted_null(by_category.rows, drivers, by_category.columns)
    figures: dict[str, float] = {}
    for sentence, null in nulls.items():
        if null is not None:
            figures |= {sentence: null.value, f"{sentence}, by chance": null.chance, f"{sentence}, p": null.p}
    return figures


def _gates(model: CAMMSR, batches: list[Batch], table: torch.Tensor) -> Table:
    """Mean gate of each expert, per part; gates of an attentive router may have any sign."""
    sums, count = torch.zeros(len(model.settings.items), model.settings.experts, dtype=torch.float64), 0
    for b in batches:
        real = b.items != PAD
        gates = model.router(model.embedded(b, table)[1], b.lengths)  # (M, B, L, K)
        sums += gates[:, real].double().sum(1)
        count += int(real.sum())
    rows = {name: tuple((sums[m] / count).tolist()) for m, name in enumerate(model.settings.items)}
    return Table(
        title="Router: mean gate of each expert",
        note="What an expert's answer is multiplied by; gates of an attentive router may have any sign and size.",
        plot="signed",
        columns=experts(model.settings.experts),
        rows=rows,
        count=dict.fromkeys(rows, count),
    )


def _maps(model: CAMMSR, batches: list[Batch], table: torch.Tensor) -> list[Table]:
    """Who looks at whom in the history of one user, the longest one of up to SHOWN_EVENTS events; one map per part."""
    if not isinstance(model.router, AttentiveRouter):
        return []
    rows = [(int(n), b, i) for b in batches for i, n in enumerate(b.lengths.tolist()) if n <= SHOWN_EVENTS]
    if not rows:
        return []
    length, batch, row = max(rows, key=lambda found: found[0])
    names = tuple(f"event {i + 1}" for i in range(length))
    found = model.router.maps(model.embedded(batch, table)[1], batch.lengths)[:, row, :length, :length]
    return [
        Table(
            title=f"Router of {part}: who looks at whom, one user",
            note="Each row is one event of the history, oldest first, and says how much it looks at each event so far.",
            plot="heat",
            columns=names,
            rows={name: tuple(found[m, i].tolist()) for i, name in enumerate(names)},
        )
        for m, part in enumerate(model.settings.items)
    ]
