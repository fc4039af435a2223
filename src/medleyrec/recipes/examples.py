"""A few users of the report: what they had, what the best model shows them, what came next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import Values
from medleyrec.evaluation.ranking import seen_items, top_items
from medleyrec.evaluation.report import ExampleUser, ItemCard
from medleyrec.recipes.contestant import Contestant
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.ranking import WithFallback, batches_of, candidates_of, fallback_of, ranks_of
from medleyrec.recipes.run import RARE_REPEATS
from medleyrec.schema import EvalEvents

SHOWN = 8  # items of a history, and recommendations


def examples(
    experiment: Experiment,
    split: Split,
    events: EvalEvents,
    contestants: Sequence[Contestant],
    values: dict[str, Values],
    headline: str,
) -> tuple[ExampleUser, ...]:
    """A few users, drawn at random, with what the best model shows them."""
    if not experiment.evaluate.examples:
        return ()
    best = max(contestants, key=lambda c: (bool(c.runs), float(values[c.name][headline].mean())))
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(events))[: experiment.evaluate.examples])
    some = events.take(rows)
    data = split.dataset
    seen = seen_items(data.items, some) if data.manifest["facts"]["repeat_rate"] < RARE_REPEATS else None
    chosen = experiment.evaluate.candidates
    ranker = WithFallback(best.rankers[0], fallback_of(split)) if split.unanswerable(some).any() else best.rankers[0]
    batches = batches_of(split, some, max_length=best.max_length)
    items, _ = top_items(ranker, batches, candidates_of(split, chosen), SHOWN, seen=seen)
    ranks = ranks_of(ranker, split, some, max_length=best.max_length, candidates=chosen).rank
    cards = _Cards(data)
    return tuple(
        ExampleUser(
            user=data.user_ids[int(some.users[n])],
            model=best.name,
            history=tuple(cards(int(r)) for r in _last(data, some, n)),
            recommended=tuple(cards(int(r), target=int(some.targets[n])) for r in items[n] if r),
            target=cards(int(some.targets[n])),
            rank=float(ranks[n]),
        )
        for n in range(len(some))
    )


def _last(data: Dataset, events: EvalEvents, n: int) -> list[int]:
    start, end = int(events.history_starts[n]), int(events.history_ends[n])
    rows: list[int] = data.items[max(start, end - SHOWN) : end].tolist()
    return rows


class _Cards:
    """Items as a reader sees them."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.titles = data.catalogue.column("title")

    def __call__(self, row: int, *, target: int | None = None) -> ItemCard:
        title = self.titles[row - 1].as_py() or self.data.item_ids[row]
        return ItemCard(title=title, picture=self.data.picture(row), is_target=row == target)
