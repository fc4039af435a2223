"""What a trained model loses when one kind of its input is shuffled: which events rest on text, pictures or times.

Letters:  E events   V items, row 0 being padding   B rows   L positions
Text or pictures are dealt out anew among the items, in histories and among the candidates alike: among all items, or
among those of one category, which leaves the category itself told. Gaps are dealt out anew among the events of each
history, whose first and last time stay. A loss is NDCG@10 as it is minus NDCG@10 shuffled,
on the same events, the mean of several shuffles. It tells what this model leans on, not what the data could tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medleyrec.evaluation.metrics import Values, event_values
from medleyrec.evaluation.ranking import rank_events
from medleyrec.evaluation.slices import Masks
from medleyrec.evaluation.statistics import Estimate, slice_intervals
from medleyrec.models.base import Frozen
from medleyrec.recipes.ranking import batches_of, candidates_of
from medleyrec.recipes.run import Run
from medleyrec.schema import FEATURES, Batch, EvalEvents, Floats, Int32s, Int64s

METRIC = "ndcg@10"
GAPS = "gaps"
EVERYTHING, OTHERS = "all events", "other categories"
MOST_GROUPS = 12
WHOLE, WITHIN = "among all items", "among items of one category"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffles:
    """By group of events: NDCG@10 as it is, and what each shuffle costs."""

    reach: str
    kinds: tuple[str, ...]
    kept: dict[str, Estimate]
    lost: dict[str, dict[str, Estimate]]
    """Group -> kind of input -> loss."""
    count: dict[str, int]


def shuffle_losses(run: Run, events: EvalEvents, *, reach: str = WHOLE, seeds: int = 3) -> Shuffles | None:
    """Of events with a history and a known target; None where nothing that the model looks at can be shuffled.

    reach: how far contents are dealt; gaps are shuffled where it is WHOLE.
    """
    labels = most_specific(*run.dataset.categories)  # (V,)
    within = labels if reach == WITHIN else np.zeros_like(labels)
    kinds = [name for name in run.model.rows.parts if name in FEATURES and (reach == WHOLE or (labels >= 0).any())]
    if run.model.uses_times and reach == WHOLE:
        kinds.append(GAPS)
    if not kinds:
        return None
    true = _ndcg(run, events)
    shuffled = [
        np.mean([_shuffled_ndcg(run, events, kind, seed, within) for seed in range(seeds)], 0) for kind in kinds
    ]
    columns = [true, *(true - one for one in shuffled)]
    groups = groups_by(run, np.asarray(events.targets, np.int64))
    found = slice_intervals(Values(("kept", *kinds), np.column_stack(columns)), events.users, groups)
    return Shuffles(
        reach=reach,
        kinds=tuple(kinds),
        kept={name: told["kept"] for name, told in found.items()},
        lost={name: {kind: told[kind] for kind in kinds} for name, told in found.items()},
        count={name: int(groups[name].sum()) for name in found},
    )


def _shuffled_ndcg(run: Run, events: EvalEvents, kind: str, seed: int, within: Int64s) -> Floats:
    if kind == GAPS:
        return _ndcg(run, events, seed=seed)
    with torch.inference_mode():
        return _ndcg(run, events, table=run.model.rows.exchanged(kind, dealt(within, seed)))


def _ndcg(run: Run, events: EvalEvents, *, table: Tensor | None = None, seed: int | None = None) -> Floats:
    """(E,) NDCG@10 of each event. seed: gaps are shuffled."""
    batches = batches_of(run.split, events, max_length=run.model.max_length)
    if seed is not None:
        batches = _with_gaps_shuffled(batches, seed)
    ranks = rank_events(Frozen(run.model, table), batches, events, candidates_of(run.split))
    return np.asarray(event_values(ranks, (METRIC,)).matrix[:, 0])


def dealt(within: Int64s, seed: int) -> Tensor:
    """(V,) whose content each item gets: that of a random item of its group `within` (V,); padding keeps its own."""
    chance = np.random.default_rng(seed).random(len(within) - 1)
    order = np.arange(len(within))
    places = 1 + np.argsort(within[1:], kind="stable")  # by group
    order[places] = 1 + np.lexsort((chance, within[1:]))
    return torch.from_numpy(order)


def _with_gaps_shuffled(batches: Iterator[tuple[Int64s, Batch]], seed: int) -> Iterator[tuple[Int64s, Batch]]:
    rng = np.random.default_rng(seed)
    for rows, b in batches:
        yield rows, Batch(b.items, shuffled_gaps(b, rng), b.lengths, b.targets, b.users)


def shuffled_gaps(batch: Batch, rng: np.random.Generator) -> Tensor:
    """Times (B, L) of a batch whose gaps lie in a random order within each row."""
    times, lengths = batch.times.numpy(), batch.lengths.numpy()
    gaps = np.diff(times, axis=1)  # (B, L - 1)
    real = np.arange(gaps.shape[1]) < lengths[:, None] - 1
    order = np.where(real, rng.random(gaps.shape), 2.0).argsort(1)  # padding stays behind the gaps
    moved = np.take_along_axis(np.where(real, gaps, 0), order, 1).cumsum(1)
    later = np.where(real, times[:, :1] + moved, times[:, 1:])
    return torch.from_numpy(np.concatenate([times[:, :1], later], 1))


def groups_by(run: Run, items: Int64s) -> Masks:
    """All events, then those of each frequent category of their `items` (E,)."""
    masks = {EVERYTHING: np.ones(len(items), bool)}
    own = most_specific(*run.dataset.categories)[items]  # (E,)
    names, counts = np.unique(own[own >= 0], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:MOST_GROUPS]
    masks |= {run.dataset.labels[label]: own == label for label in frequent.tolist()}
    rest = ~np.isin(own, frequent)
    return masks | ({OTHERS: rest} if len(frequent) and rest.any() else {})


def most_specific(offsets: Int64s, labels: Int32s) -> Int64s:
    """(V,) of each item's labels the one that the fewest items carry, the first of several; -1 where it has none."""
    found = np.full(len(offsets) - 1, -1, np.int64)
    if not len(labels):
        return found
    items = np.repeat(np.arange(len(found)), np.diff(offsets))
    order = np.lexsort((np.bincount(labels)[labels], items))
    first = order[np.unique(items[order], return_index=True)[1]]
    found[items[first]] = labels[first]
    return found
