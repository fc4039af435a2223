"""One line of the table: a baseline, or the seeds of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import Values
from medleyrec.models.base import Ranker
from medleyrec.recipes.ranking import fitted_baseline
from medleyrec.recipes.run import Run
from medleyrec.schema import ID

HISTORY = 50  # events that a baseline may look at


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """`runs` is empty for a baseline; rankers and runs are of the same seeds in the same order."""

    name: str
    rankers: tuple[Ranker, ...]
    max_length: int
    runs: tuple[Run, ...] = ()


def baselines(names: Sequence[str], split: Split) -> list[Contestant]:
    """Fitted on the training part."""
    return [Contestant(name, (fitted_baseline(name, split),), HISTORY) for name in names]


def families(runs: Sequence[Run]) -> list[Contestant]:
    """Runs that differ in their seed alone share a line; runs of one name but other settings are told apart."""
    found = []
    ordered = sorted(runs, key=lambda r: (len(r.record["items"]), r.record["label"], r.record["family"]))
    groups = [
        list({run.record["seed"]: run for run in group}.values())  # a repeated run is no further seed
        for _, group in groupby(ordered, key=lambda r: r.record["family"])
    ]
    labels = [family[0].record["label"] for family in groups]
    for family, label in zip(groups, labels, strict=True):
        name = label if labels.count(label) == 1 else f"{label} {family[0].record['family'][:6]}"
        lengths = {run.model.max_length for run in family}
        found.append(Contestant(name, tuple(run.ranker for run in family), max(lengths), tuple(family)))
    return found


def plain_of(models: Sequence[Contestant], values: dict[str, Values], headline: str) -> str | None:
    """The best model of ids alone: fusion must beat this one, not a weaker one beside it."""
    names = [c.name for c in models if c.runs[0].record["items"] == [ID]]
    return max(names, key=lambda name: float(values[name][headline].mean()), default=None)
