"""A model is trained on a project's dataset, in a run folder that says what made it.

    runs/<name>/run.json           settings, dataset, features and versions; written before the first step
                train.jsonl        one line per epoch
                best.safetensors   weights of the best epoch (of the last one for a refit)
                result.json        what came out; its presence says that the run is finished
                checkpoint-*       while training, or after an interruption
The same command continues an interrupted run and finds a finished one.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medleyrec import storage
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import parse_metric
from medleyrec.recipes.encode import stale_views, unencoded_descriptions
from medleyrec.recipes.experiment import RUN_RECORD, Experiment
from medleyrec.recipes.identity import identity_of, resolved
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.plan import Plan
from medleyrec.recipes.planning import check_room, plan_of
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.run import RESULT, Run, open_run
from medleyrec.recipes.workbench import Workbench, workbench
from medleyrec.schema import InputError
from medleyrec.training import checkpoint
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import Outcome, Trainer
from medleyrec.training.sizes import AUTO


def run_train(
    experiment: Experiment, listener: Listener, *, refit: bool = False, again: bool = False
) -> tuple[Run, bool]:
    """Train, continue or find the run that `experiment` describes; (run, was it interrupted by Ctrl-C).

    refit: train on ALL events, for as many epochs as the finished run of the same settings needed.
    again: train anew beside an existing run.
    """
    dataset = open_dataset(experiment.project)
    split = make_split(dataset, experiment.split)
    experiment = resolved(experiment)
    record = identity_of(experiment, split, refit=refit)
    parse_metric(experiment.train.metric)
    original = experiment
    if refit:
        experiment = _with_epochs(experiment, _best_epoch(experiment, split))
    folder = _folder(experiment.project, record, again=again)
    if (folder / RESULT).exists():
        listener.say(f"{folder} is finished already; --again trains it anew.{_otherwise(folder, original.train)}")
        return open_run(folder), False
    if experiment.train.plan:
        check_room(experiment, split)
    bench = workbench(experiment, split, record, refit=refit)
    said = stale_views(experiment, split, record["items"]) + unencoded_descriptions(experiment, split)
    for note in (*bench.model.notes, *said):
        listener.say(note)
    plan = _plan(folder, bench)
    for line in plan.lines() if plan is not None else ():
        listener.say(line)
    record = _started(folder, record, original, bench, plan)
    told = f"{bench.label}: {bench.parameters:,} parameters, {bench.windows!r}, on {bench.accelerator.device}"
    listener.say(f"{told}; {bench.softmax}.")
    trainer: Trainer = bench.trainer(
        folder,
        _as_begun(experiment.train, record),
        chunk=record["softmax_chunk"],
        validate=None if refit else bench.validation,
        on_resume=lambda state: listener.say(
            f"Goes on from a checkpoint; epochs finished: {state.epoch}, steps of the next: {state.step}."
        ),
        on_progress=lambda p: listener.training(record["label"], p),
        on_epoch=lambda entry: listener.epoch(record["label"], entry, best=trainer.state.best_epoch == entry["epoch"]),
    )
    outcome = trainer.run()
    if outcome.interrupted:
        return Run(folder, record), True
    if bench.accelerator.is_main_process:
        _finish(folder, outcome)
    bench.accelerator.wait_for_everyone()
    return open_run(folder), False


def _otherwise(folder: Path, train: TrainConfig) -> str:
    """Settings that make no other run, where this one was trained with others than are asked for now."""
    begun, plain = storage.read_json(folder / RUN_RECORD)["experiment"]["train"], TrainConfig()
    names = [n for n in ("memory_limit", "step_positions", "softmax_chunk") if getattr(train, n) != getattr(plain, n)]
    apart = [f"train.{n} = {begun.get(n)}" for n in names if begun.get(n) != getattr(train, n)]
    return f" It was trained with {', '.join(apart)}; that alone makes no other run." if apart else ""


def _folder(project: Path, record: dict[str, Any], *, again: bool) -> Path:
    folder: Path = project / "runs" / record["name"]
    number = 2
    while again and (folder / RESULT).exists():
        folder = project / "runs" / f"{record['name']}-{number}"
        number += 1
    return folder


def _best_epoch(experiment: Experiment, split: Split) -> int:
    chosen = experiment.project / "runs" / identity_of(experiment, split, refit=False)["name"]
    if not (chosen / RESULT).exists():
        raise InputError(
            f"--refit needs the finished run {chosen}, whose number of epochs it takes over; run the same command "
            "without --refit first"
        )
    return int(storage.read_json(chosen / RESULT)["best_epoch"])


def _with_epochs(experiment: Experiment, epochs: int) -> Experiment:
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"epochs": epochs})})


def _plan(folder: Path, bench: Workbench) -> Plan | None:
    """None where it is not wanted, or not made: for several processes, for a run that goes on as it was begun."""
    config = bench.experiment.train
    if bench.accelerator.num_processes > 1 or not (config.plan or config.memory_limit != AUTO):
        return None
    if (folder / RUN_RECORD).exists():
        begun = storage.read_json(folder / RUN_RECORD)["experiment"]["train"].get("memory_limit", AUTO)
        if config.memory_limit in (AUTO, begun):
            return None
    return plan_of(bench)


def _as_begun(config: TrainConfig, record: dict[str, Any]) -> TrainConfig:
    """With the size of a step's parts that the run was begun with, so that it goes on to the same bits."""
    positions = record["experiment"]["train"].get("step_positions", 0)
    return config.model_copy(update={"step_positions": positions})


def _started(
    folder: Path, record: dict[str, Any], experiment: Experiment, bench: Workbench, plan: Plan | None
) -> dict[str, Any]:
    """The run's record on disk, with the measured choices in it: found where the run was begun before, else written.

    A new plan changes what was begun.
    """
    if (folder / RUN_RECORD).exists() and plan is None:
        found: dict[str, Any] = storage.read_json(folder / RUN_RECORD)
        return found
    chunk = bench.chunk() if plan is None else plan.softmax_chunk
    positions = experiment.train.step_positions if plan is None else plan.step_positions
    train = experiment.train.model_copy(update={"softmax_chunk": chunk, "step_positions": positions})
    complete = {
        **record,
        "experiment": experiment.model_copy(update={"train": train}).model_dump(
            mode="json", exclude={"project", "source", "prepare", "describe", "encode"}
        ),
        "facts": bench.split.facts.to_json(),
        "parameters": bench.parameters,
        "softmax_chunk": chunk,
        "softmax": str(bench.softmax),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "medleyrec": version("medleyrec"),
            "threads": torch.get_num_threads(),
        },
    }
    if bench.accelerator.is_main_process:
        storage.write_json(folder / RUN_RECORD, complete)
        storage.write_json(folder / "prepared_with.json", bench.split.dataset.manifest["options"])
    return complete


def _finish(folder: Path, outcome: Outcome) -> None:
    storage.write_json(
        folder / RESULT,
        {
            "best_epoch": outcome.best_epoch,
            "best_validation": outcome.best,
            "epochs": len(outcome.history),
            "training_seconds": round(sum(e["seconds"] for e in outcome.history), 2),
            "targets_per_second": round(
                sum(e["targets_per_second"] * e["seconds"] for e in outcome.history)
                / max(sum(e["seconds"] for e in outcome.history), 1e-9)
            ),
        },
    )
    checkpoint.drop_checkpoints(folder)
