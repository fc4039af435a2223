"""One line of the table: a baseline, or the seeds of one model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import Values
from medleyrec.features.describe.series import STAND_IN
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
        list({run.record["seed"]: run for run in group}.values())  # a repeated run is no further seed (`repeats`)
        for _, group in groupby(ordered, key=lambda r: r.record["family"])
    ]
    labels = [_labelled(family[0]) for family in groups]
    for family, label in zip(groups, labels, strict=True):
        name = label if labels.count(label) == 1 else f"{label} {family[0].record['family'][:6]}"
        lengths = {run.model.max_length for run in family}
        found.append(Contestant(name, tuple(run.ranker for run in family), max(lengths), tuple(family)))
    return found


def _labelled(run: Run) -> str:
    """A table never passes a template's sentences off as a model's."""
    label: str = run.record["label"]
    return f"{label}, stand-in descriptions" if STAND_IN in run.described_by else label


def repeats(runs: Sequence[Run], models: Sequence[Contestant]) -> list[Run]:
    """Those that `families` left out: a later one has the same settings and the same seed."""
    taken = {id(run) for model in models for run in model.runs}
    return [run for run in runs if id(run) not in taken]


def differences(models: Sequence[Contestant]) -> dict[str, dict[str, Any]]:
    """Of models that have their label in common with another one: the settings in which these differ."""
    found: dict[str, dict[str, Any]] = {}
    for _, group in groupby(models, key=lambda c: c.runs[0].record["label"]):
        settings = {model.name: _settings(model.runs[0].record) for model in group}
        names = dict.fromkeys(name for mine in settings.values() for name in mine)
        apart = [n for n in names if len({json.dumps(mine.get(n)) for mine in settings.values()}) > 1]
        found |= {model: {n: mine[n] for n in apart if n in mine} for model, mine in settings.items() if apart}
    return found


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names -> what decides a run's result, as it is said on the command line."""
    told = {f"model.settings.{n}": value for n, value in record["model"]["settings"].items()}
    told |= {f"train.{n}": value for n, value in record["train"].items()}
    return told | {f"vectors of {n}": value["revision"][:8] for n, value in record.get("encoders", {}).items()}


def plain_of(models: Sequence[Contestant], values: dict[str, Values], headline: str) -> str | None:
    """The best model of ids alone: fusion must beat this one, not a weaker one beside it."""
    names = [c.name for c in models if c.runs[0].record["items"] == [ID]]
    return max(names, key=lambda name: float(values[name][headline].mean()), default=None)
