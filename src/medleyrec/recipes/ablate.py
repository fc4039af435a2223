"""Several recipes on one project, seed by seed: what each part of a model is worth.

    <project>/ablation/<model>/<recipe>.json    one finished row: its settings, runs, metrics with intervals
                               <recipe>.npy     its NDCG@10 of every test event, mean over its seeds
A recipe is a TOML file with [model] and [train]. The same command continues where it was stopped: finished runs and
rows are found, an interrupted run goes on. Rows that are not finished are printed as pending. Every finished row that
is judged as the first recipe is compared with it on the same events; p is corrected after Holm over the rows of the
table. Recipes of several models may stand in one table; where two share a name, their folders tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medleyrec import storage
from medleyrec.config import parse
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.split import Split
from medleyrec.evaluation.comparisons import Comparison, compare_all
from medleyrec.evaluation.metrics import Values, event_values, mean_over_seeds, metric_names
from medleyrec.evaluation.statistics import Estimate, intervals
from medleyrec.evaluation.words import p_equals
from medleyrec.models import model_class
from medleyrec.recipes.encode import features_folder
from medleyrec.recipes.experiment import Experiment, load_experiment
from medleyrec.recipes.identity import run_name
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.ranking import ranks_of
from medleyrec.recipes.run import Run
from medleyrec.recipes.train import run_train
from medleyrec.schema import FEATURES, PICTURE, TEST, TEXT, EvalEvents, InputError

FOLDER = "ablation"
COMPARED = "ndcg@10"
SHOWN = ("hit_rate@10", "ndcg@10", "mrr@10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipe. Without metrics it is pending, or cannot be run for the reason in `refused`."""

    name: str
    seeds: tuple[int, ...] = ()
    metrics: dict[str, Estimate] = field(default_factory=dict)
    against: Comparison | None = None
    """The row minus the first recipe, by NDCG@10; None for it, where either is pending, or judged in another way."""
    refused: str = ""
    written: str = ""
    """Who wrote the descriptions it was trained on."""

    def __str__(self) -> str:
        if self.metrics:
            told = "".join(f"{_shown(self.metrics[name]):>27}" for name in SHOWN)
        else:
            told = f"  {'cannot be run' if self.refused else 'pending'}"
        return f"{self.name:<24}{len(self.seeds) or '-':>6}{told}{_difference(self.against)}"


@dataclass(frozen=True, slots=True)
class Ablation:
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        head = f"{'recipe':<24}{'seeds':>6}" + "".join(f"{name:>27}" for name in SHOWN)
        first = f"   {COMPARED} against {self.rows[0].name}" if any(row.against for row in self.rows) else ""
        return "\n".join([head + first, *map(str, self.rows)])

    @property
    def refused(self) -> list[Row]:
        return [row for row in self.rows if row.refused]

    @property
    def finished(self) -> bool:
        return all(row.metrics or row.refused for row in self.rows)


def run_ablate(
    recipes: Sequence[Path],
    listener: Listener,
    *,
    project: Path,
    seeds: int = 1,
    table_only: bool = False,
    overrides: Sequence[str] = (),
) -> Ablation:
    """Train every recipe with `seeds` seeds, the recipe's own and the ones after it, and judge them on the test events.

    table_only: train nothing, show what is there, whatever its number of seeds. overrides ("a.b=c") are of all recipes.
    Raises InputError for two recipes of
    one name and model; a recipe that these data do not allow is a row that says why.
    """
    recipes = list(dict.fromkeys(recipes))  # full.toml *.toml: the first one is compared with, and named once
    experiments = dict(
        zip(_names(recipes), [_experiment(p, project, listener, overrides) for p in recipes], strict=True)
    )
    kept = [_values_file(experiment, name) for name, experiment in experiments.items()]
    if double := next((path for path in kept if kept.count(path) > 1), None):
        raise InputError(f"two recipes are called {double.stem!r}; their rows are kept under that name, so rename one")
    rows, stopped = [], table_only
    for name, experiment in experiments.items():
        try:
            row = _found(name, experiment, None if table_only else seeds)
            if not row.metrics and not stopped:
                row, stopped = _run(row, experiment, seeds, listener)
        except InputError as error:
            row = Row(name=name, refused=str(error))
        rows.append(row)
    return Ablation(_compared(rows, experiments))


def _names(recipes: Sequence[Path]) -> list[str]:
    """What each row is called: the file's name, with its folder's where two files share it."""
    stems = [path.stem for path in recipes]
    names = [f"{p.absolute().parent.name}/{p.stem}" if stems.count(p.stem) > 1 else p.stem for p in recipes]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two recipes are called {double!r}; their rows are kept under that name, so rename one")
    return names


def _experiment(path: Path, project: Path, listener: Listener, overrides: Sequence[str]) -> Experiment:
    """The recipe on `project`, without the contents that the project has no vectors of."""
    experiment = load_experiment(path, overrides=overrides, flags={"project": str(project)})
    wanted = list(experiment.model.settings.get("items", ()))
    folder = features_folder(make_split(open_dataset(project), experiment.split))
    lacking = [n for n in wanted if n in FEATURES and not (folder / n / "manifest.json").exists()]
    if not lacking:
        return experiment
    views = [name for name in lacking if name not in (TEXT, PICTURE)]
    how = f" --views {','.join(views)}" if views else ""
    listener.say(
        f"{path.name}: the project has no vectors of {' and '.join(lacking)}; the recipe does without "
        f"(medley encode {project}{how} would make them)."
    )
    settings = {**experiment.model.settings, "items": [n for n in wanted if n not in lacking]}
    return experiment.model_copy(update={"model": experiment.model.model_copy(update={"settings": settings})})


def _compared(rows: list[Row], experiments: dict[str, Experiment]) -> tuple[Row, ...]:
    """With each finished row's difference from the first one, as far as they are judged alike."""
    if not rows or not rows[0].metrics:
        return tuple(rows)
    first = experiments[rows[0].name]
    alike = [row.name for row in rows if row.metrics and _judging(experiments[row.name]) == _judging(first)]
    files = {name: _values_file(experiments[name], name) for name in alike}
    if len(files) < 2:
        return tuple(rows)
    events = make_split(open_dataset(first.project), first.split).eval_events(TEST)
    values = {name: Values((COMPARED,), np.load(path)[:, None].astype(np.float64)) for name, path in files.items()}
    pairs = [(name, rows[0].name) for name in files if name != rows[0].name]
    found = {c.model: c for c in compare_all(values, events.users, pairs, (COMPARED,))}
    return tuple(replace(row, against=found.get(row.name)) for row in rows)


def _run(row: Row, experiment: Experiment, seeds: int, listener: Listener) -> tuple[Row, bool]:
    """The row, and whether the user stopped the work."""
    runs = []
    for seed in range(experiment.train.seed, experiment.train.seed + seeds):
        run, interrupted = run_train(_seeded(experiment, seed), listener)
        if interrupted:
            return row, True
        runs.append(run)
    return _judged(row.name, experiment, runs), False


def _seeded(experiment: Experiment, seed: int) -> Experiment:
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"seed": seed})})


def _judged(name: str, experiment: Experiment, runs: Sequence[Run]) -> Row:
    split = runs[0].split
    events = split.eval_events(TEST)
    shared = mean_over_seeds([_values(run, split, events, experiment) for run in runs])
    row = Row(
        name=name,
        seeds=tuple(run.record["seed"] for run in runs),
        metrics=intervals(shared, events.users),
        written=runs[0].described_by,
    )
    storage.save_array(_values_file(experiment, name), shared[COMPARED].astype(np.float32))
    _save(row, experiment, runs)
    return row


def _values(run: Run, split: Split, events: EvalEvents, experiment: Experiment) -> Values:
    options = experiment.evaluate
    ranks = ranks_of(
        run.ranker,
        split,
        events,
        max_length=run.model.max_length,
        candidates=options.candidates,
        mask_seen=options.mask_seen,
    )
    return event_values(ranks, metric_names(options.cutoffs))


def _save(row: Row, experiment: Experiment, runs: Sequence[Run]) -> None:
    told = {
        "recipe": row.name,
        "settings": _settings(experiment),
        "seeds": list(row.seeds),
        "runs": [run.folder.name for run in runs],
        "descriptions": row.written,
        "metrics": {n: {"value": e.value, "low": e.low, "high": e.high} for n, e in row.metrics.items()},
    }
    storage.write_json(_values_file(experiment, row.name).with_suffix(".json"), told)


def _found(name: str, experiment: Experiment, seeds: int | None) -> Row:
    """The finished row of the same settings, dataset, vectors and seeds (None: any); else a pending one."""
    path = _values_file(experiment, name).with_suffix(".json")
    if not path.exists() or not path.with_suffix(".npy").exists():
        return Row(name=name)
    told = storage.read_json(path)
    wanted = told.get("seeds")
    if seeds is not None:
        wanted = list(range(experiment.train.seed, experiment.train.seed + seeds))
    if told.get("settings") != _settings(experiment) or told.get("seeds") != wanted:
        return Row(name=name)
    if told.get("runs") != [run_name(_seeded(experiment, seed)) for seed in wanted]:  # of vectors encoded since anew
        return Row(name=name)
    metrics = {n: Estimate(**e) for n, e in told["metrics"].items()}
    return Row(name=name, seeds=tuple(told["seeds"]), metrics=metrics, written=told.get("descriptions", ""))


def _values_file(experiment: Experiment, name: str) -> Path:
    stem = name.rpartition("/")[-1]
    return experiment.project / FOLDER / experiment.model.name / f"{stem}.npy"


def _settings(experiment: Experiment) -> dict[str, Any]:
    """What decides a row, seeds aside."""
    name = experiment.model.name
    checked = parse(model_class(name).Settings, experiment.model.settings, where=f"model {name}")
    return {
        "model": name,
        "model_settings": checked.recorded(),
        "train": experiment.train.model_dump(mode="json", exclude={"seed", "device", "checkpoint_minutes"}),
        **_judging(experiment),
        "cutoffs": list(experiment.evaluate.cutoffs),
        "dataset": open_dataset(experiment.project).manifest["identity"],
    }


def _judging(experiment: Experiment) -> dict[str, Any]:
    """On which events and among which items; what is as by default is not named."""
    among = experiment.evaluate.model_dump(mode="json", include={"candidates", "mask_seen"}, exclude_defaults=True)
    return {"split": experiment.split.model_dump(mode="json"), **among}


def _difference(found: Comparison | None) -> str:
    if found is None:
        return ""
    d = found.difference
    return f"   {d.value:+.4f} ({d.low:+.4f} to {d.high:+.4f}), {p_equals(found.p_holm)}"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({estimate.low:.4f}-{estimate.high:.4f})"
