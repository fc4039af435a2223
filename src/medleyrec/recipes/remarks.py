"""What a report says of its data and events: facts, the oracle of a planted dataset, and who no model could answer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from medleyrec import storage
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.evaluation.negatives import Negatives
from medleyrec.recipes.contestant import Contestant, differences, repeats
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.prepare import TRUTH
from medleyrec.recipes.ranking import KNOWN
from medleyrec.recipes.run import Run
from medleyrec.schema import TEST, EvalEvents

ORACLE = "NDCG@10"
SAMPLED_WHY = (
    "Not the headline: metrics against a sample are inconsistent with those against all candidates and can put models "
    "in another order (Krichene & Rendle, KDD 2020). This table is here to be set beside papers that report it."
)


def runs_told(
    named: Sequence[Run], models: Sequence[Contestant], unfinished: Sequence[Run], misfits: Sequence[Run] = ()
) -> tuple[str, ...]:
    """Which runs are in no row of the table, what the rows of one label differ in, and whose descriptions they have."""
    told = [f"Left out: {run.folder.name}, as {run.misfit}." for run in misfits]
    for why, runs in (
        ("is unfinished", unfinished),
        ("has the settings and the seed of another run that is in the table", repeats(named, models)),
    ):
        if runs:
            told.append(f"Left out, as it {why}: {', '.join(run.folder.name for run in runs)}.")
    for name, settings in differences(models).items():
        told.append(f"{name} has {', '.join(f'{n} = {json.dumps(value)}' for n, value in settings.items())}.")
    for model in models:
        if author := model.runs[0].described_by:
            told.append(f"The descriptions of {model.name} are of this origin: {author}.")
    return tuple(told)


def oracle_of(experiment: Experiment, data: Dataset) -> dict[str, float] | None:
    """What the generator of a planted dataset reaches; None where its events are not all there."""
    path = experiment.project / TRUTH
    raw, left = data.manifest["raw_counts"], data.manifest["counts"]
    if experiment.evaluate.mask_seen or any(raw[key] != left[key] for key in ("users", "events")):
        return None
    return dict(storage.read_json(path)["oracle"][TEST]) if path.exists() else None


def data_facts(data: Dataset, split: Split, oracle: dict[str, float] | None) -> dict[str, str | int | float]:
    counts, facts, content = data.manifest["counts"], data.manifest["facts"], data.manifest["coverage"]
    told: dict[str, str | int | float] = {
        "users": counts["users"],
        "items": counts["items_in_log"],
        "events": counts["events"],
        "training events": split.manifest["counts"]["train"],
        "mean events per user": round(facts["mean_events_per_user"], 1),
        "repeated events": f"{facts['repeat_rate']:.1%}",
        "consecutive events with equal times": f"{facts['tied_consecutive_events']:.1%}",
        "users whose last two events tie": f"{facts['users_with_last_two_tied']:.1%}",
        "items with a title": f"{content['title']:.1%}",
        "items with a picture": f"{content['image']:.1%}",
        "items with categories": f"{content['categories']:.1%}",
    }
    if oracle:
        told["NDCG@10 of the oracle"] = round(oracle[ORACLE], 4)
    return told


def left_over(split: Split, events: EvalEvents, candidates: str) -> tuple[str, ...]:
    """What became of the events that no model can answer from what it learnt."""
    empty = events.history_ends == events.history_starts
    unknown = ~split.known[events.targets]
    told = []
    if split.filters_looked_ahead:
        told.append(
            "Who and what is too rare was decided with events after the cut as well; `medley prepare --split time` "
            "lets the past alone decide."
        )
    if empty.any():
        told.append(
            f"{empty.sum():,} of {len(events):,} events ({empty.mean():.1%}) come without a history: recent popularity "
            "ranks them, in every row of the table alike."
        )
    if unknown.any():
        fate = "count as missed" if candidates == KNOWN else "are ranked by recent popularity, in every row alike"
        told.append(
            f"{unknown.sum():,} of {len(events):,} events ({unknown.mean():.1%}) take an item that was unknown at the "
            f"cut: they {fate}."
        )
    return tuple(told)


def sampled_title(negatives: Negatives) -> str:
    most = "up to " if (negatives.left() < negatives.count).any() else ""
    return f"Against {most}{negatives.count:,} sampled negatives"


def sampled_notes(negatives: Negatives) -> tuple[str, ...]:
    """How the negatives were drawn, and for whom there were too few."""
    told = [
        f"Each target is ranked among {negatives.count:,} different items, drawn uniformly from the candidates that "
        "its user never had, neither in training nor in validation nor in the test part; the same items for every "
        f"model (seed {negatives.seed}).",
        "Head and tail: the cut that leaves about 80 % of the users, or of the trained items, in the tail; equal "
        "counts stay together.",
    ]
    left = negatives.left()
    few = left < negatives.count
    if few.any():
        told.append(
            f"For {few.sum():,} of {len(left):,} events fewer than {negatives.count:,} such items are left (at least "
            f"{left.min():,}): their targets are ranked among all of these, which is easier."
        )
    return tuple(told)
