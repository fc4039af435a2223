"""Runs and baselines of a project, judged on the same test events: a table, slices, paired tests, a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medleyrec.dataset.audit import Audit
from medleyrec.dataset.cuts import SplitConfig, make_split
from medleyrec.dataset.split import Split
from medleyrec.evaluation.comparisons import compare_all, every_pair
from medleyrec.evaluation.metrics import Values, event_values, mean_over_seeds, metric_names
from medleyrec.evaluation.negatives import Negatives
from medleyrec.evaluation.ranking import top_items
from medleyrec.evaluation.reach import reach
from medleyrec.evaluation.report import (
    Curve,
    CurvePoint,
    ModelRow,
    Protocol,
    Report,
    SliceRow,
    standard_notes,
)
from medleyrec.evaluation.slices import Masks, head_and_tail, of_events
from medleyrec.evaluation.statistics import intervals, slice_intervals
from medleyrec.recipes.audit import run_audit
from medleyrec.recipes.contestant import Contestant, baselines, families, plain_of
from medleyrec.recipes.examples import examples
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.ranking import (
    WithFallback,
    batches_of,
    candidate_kind,
    candidates_of,
    fallback_of,
    negatives_of,
    ranks_of,
)
from medleyrec.recipes.remarks import (
    ORACLE,
    SAMPLED_WHY,
    data_facts,
    left_over,
    oracle_of,
    runs_told,
    sampled_notes,
    sampled_title,
)
from medleyrec.recipes.run import Run, runs_of
from medleyrec.schema import TEST, EvalEvents, InputError, Int64s
from medleyrec.training.loop import LOG

HEADLINE = "ndcg@10"


def run_evaluate(
    experiment: Experiment, listener: Listener, *, runs: Sequence[Run] = (), out: Path | None = None, command: str = ""
) -> Report:
    """Evaluate `runs` (by default all finished runs of the project) beside the baselines on the test events.

    Writes report.json, report.md and report.html into `out` (by default the project folder).
    """
    dataset = open_dataset(experiment.project)
    identity = dataset.manifest["identity"]
    known = [r for r in runs_of(experiment.project) if r.record["dataset"] == identity]
    config = _split_config(experiment, runs or known)
    split = make_split(dataset, config)
    begun = [] if runs else runs_of(experiment.project, finished=False)
    unfinished = [r for r in begun if r.record["dataset"] == identity and SplitConfig(**r.record["split"]) == config]
    alike = [] if runs else [r for r in known if SplitConfig(**r.record["split"]) == config]
    runs = list(runs) or [r for r in alike if not r.misfit]
    for run in runs:
        if SplitConfig(**run.record["split"]) != config:
            raise InputError(f"{run.folder} was trained under another split than {config.name}; evaluate it by itself")
        if run.record["refit"]:
            raise InputError(f"{run.folder} was trained on test events too; evaluate the run without --refit")
        if not run.result:
            raise InputError(f"{run.folder} is unfinished; run the same `medley train` again to finish it")
    if not runs and not experiment.evaluate.baselines:
        raise InputError("there is nothing to evaluate: no finished run, and evaluate.baselines is empty")
    events = split.eval_events(TEST)
    if not len(events):
        raise InputError(f"{dataset.folder} has no test event under {split.name}; loosen the filters")
    models = families(runs)
    contestants = [*baselines(experiment.evaluate.baselines, split), *models]
    told = runs_told(runs, models, unfinished, [r for r in alike if r.misfit])
    for sentence in told:
        listener.say(sentence)
    names = metric_names(experiment.evaluate.cutoffs)
    values = {c.name: _values(c, experiment, split, events, names, listener) for c in contestants}
    sampled = experiment.evaluate.protocol == "sampled"
    protocols = (_sampled(experiment, split, events, contestants, names, listener),) if sampled else ()
    audit = run_audit(experiment, listener, split=split)
    report = _report(experiment, split, events, contestants, values, protocols, audit, command, told)
    report.write(out or experiment.project)
    return report


def _split_config(experiment: Experiment, runs: Sequence[Run]) -> SplitConfig:
    """The one asked for, or else the one that all runs were trained on."""
    splits = {SplitConfig(**run.record["split"]) for run in runs}
    if "split" in experiment.model_fields_set or len(splits) != 1:
        return experiment.split
    return splits.pop()


def _values(
    contestant: Contestant,
    experiment: Experiment,
    split: Split,
    events: EvalEvents,
    names: tuple[str, ...],
    listener: Listener,
    negatives: Negatives | None = None,
) -> Values:
    """Mean over seeds of each event's metrics."""
    done = 0
    total = len(events) * len(contestant.rankers)
    among = "" if negatives is None else " among negatives"

    def progress(count: int) -> None:
        nonlocal done
        done += count
        listener.step(f"rank {contestant.name}{among}", done, total)

    return mean_over_seeds(
        [
            event_values(
                ranks_of(
                    ranker,
                    split,
                    events,
                    max_length=contestant.max_length,
                    candidates=experiment.evaluate.candidates,
                    mask_seen=experiment.evaluate.mask_seen,
                    negatives=negatives,
                    progress=progress,
                ),
                names,
            )
            for ranker in contestant.rankers
        ]
    )


def _sampled(
    experiment: Experiment,
    split: Split,
    events: EvalEvents,
    contestants: Sequence[Contestant],
    names: tuple[str, ...],
    listener: Listener,
) -> Protocol:
    """The habit of part of the literature: each target among a few items that its user never had."""
    options = experiment.evaluate
    negatives = negatives_of(split, events, options.candidates, count=options.negatives, seed=options.negatives_seed)
    values = {c.name: _values(c, experiment, split, events, names, listener, negatives) for c in contestants}
    masks = head_and_tail(events, np.asarray(split.train_counts), _before_test(split, events))
    k = 10 if 10 in options.cutoffs else options.cutoffs[0]
    shown = (f"hit_rate@{k}", f"ndcg@{k}")
    return Protocol(
        title=sampled_title(negatives),
        why=SAMPLED_WHY,
        models={name: intervals(found, events.users) for name, found in values.items()},
        groups=_sliced(values, events, masks, shown),
        shown=shown,
        notes=sampled_notes(negatives),
    )


def _report(
    experiment: Experiment,
    split: Split,
    events: EvalEvents,
    contestants: Sequence[Contestant],
    values: dict[str, Values],
    protocols: tuple[Protocol, ...],
    audit: Audit,
    command: str,
    told: tuple[str, ...],
) -> Report:
    data = split.dataset
    headline = HEADLINE if 10 in experiment.evaluate.cutoffs else f"ndcg@{experiment.evaluate.cutoffs[0]}"
    oracle = oracle_of(experiment, data)
    models = [c for c in contestants if c.runs]
    plain = plain_of(models, values, headline)
    pairs = every_pair([c.name for c in models], [c.name for c in contestants if not c.runs], plain)
    kind = candidate_kind(split, experiment.evaluate.candidates)
    return Report(
        title=f"Medley on {experiment.project.resolve().name}",
        split=split.told,
        candidates=kind,
        events=len(events),
        users=len(np.unique(events.users)),
        models=tuple(_row(c, experiment, split, events, values[c.name], oracle) for c in contestants),
        facts=data_facts(data, split, oracle),
        headline=headline,
        plain=plain,
        slices=_slices(events, split, values, headline),
        comparisons=compare_all(values, events.users, pairs, [headline]) if pairs else (),
        protocols=protocols,
        curves=tuple(_curve(c.runs[0], c.name) for c in models),
        examples=examples(experiment, split, events, contestants, values, headline),
        notes=(
            *standard_notes(
                candidates=kind,
                num_candidates=len(candidates_of(split, kind)),
                split=split.told,
                max_length=max(c.max_length for c in contestants),
                seen_masked=experiment.evaluate.mask_seen,
                protocols=[p.title for p in protocols],
            ),
            *left_over(split, events, kind),
            *told,
        ),
        audit=audit,
        command=command or _command(experiment),
    )


def _command(experiment: Experiment) -> str:
    protocol = experiment.evaluate.protocol
    return f"medley evaluate {experiment.project}" + ("" if protocol == "full" else f" --protocol {protocol}")


def _row(
    c: Contestant,
    experiment: Experiment,
    split: Split,
    events: EvalEvents,
    values: Values,
    oracle: dict[str, float] | None,
) -> ModelRow:
    metrics = intervals(values, events.users)
    candidates = candidates_of(split, experiment.evaluate.candidates)
    ranker = WithFallback(c.rankers[0], fallback_of(split)) if split.unanswerable(events).any() else c.rankers[0]
    shown, _ = top_items(ranker, batches_of(split, events, max_length=c.max_length), candidates, 10)
    reached = reach(shown, candidates.numpy(), np.asarray(split.train_counts))
    share = metrics[HEADLINE].value / oracle[ORACLE] if oracle and HEADLINE in metrics else None
    return ModelRow(
        name=c.name,
        kind="model" if c.runs else "baseline",
        metrics=metrics,
        oracle_share=share,
        coverage=reached.coverage,
        mean_popularity=reached.mean_popularity,
        popularity_percentile=reached.popularity_percentile,
        parameters=c.runs[0].record["parameters"] if c.runs else None,
        training_seconds=_mean([r.result["training_seconds"] for r in c.runs]),
        targets_per_second=_mean([r.result["targets_per_second"] for r in c.runs]),
        seeds=tuple(r.record["seed"] for r in c.runs),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _slices(events: EvalEvents, split: Split, values: dict[str, Values], headline: str) -> tuple[SliceRow, ...]:
    trained = np.asarray(split.train_end - split.dataset.offsets[:-1])[events.users]
    counts, before = np.asarray(split.train_counts), _before_test(split, events)
    masks = of_events(events, counts, trained if split.is_time_cut else None, before)
    return _sliced(values, events, masks, (headline,))


def _before_test(split: Split, events: EvalEvents) -> Int64s:
    """(E,) events that each event's user had before the test part."""
    return np.asarray(split.validation_end - split.dataset.offsets[:-1])[events.users]


def _sliced(
    values: dict[str, Values], events: EvalEvents, masks: Masks, names: tuple[str, ...]
) -> tuple[SliceRow, ...]:
    chosen = {m: Values(names, np.column_stack([v[n] for n in names])) for m, v in values.items()}
    found = {m: slice_intervals(v, events.users, masks) for m, v in chosen.items()}
    return tuple(
        SliceRow(name=name, events=int(mask.sum()), models={m: found[m][name] for m in found})
        for name, mask in masks.items()
    )


def _curve(run: Run, name: str) -> Curve:
    metric = run.record["train"]["metric"]
    points = tuple(
        CurvePoint(epoch=e["epoch"], loss=e["loss"], validation=e.get("validation", {}).get(metric))
        for e in _lines(run.folder / LOG)
    )
    return Curve(model=name, metric=metric, points=points)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
