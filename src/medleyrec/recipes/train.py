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

import numpy as np
import torch
from accelerate import Accelerator

from medleyrec import storage
from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, prefix_windows
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.split import Split, TrainingLog
from medleyrec.evaluation.metrics import parse_metric
from medleyrec.models import build
from medleyrec.models.base import Frozen, SequenceModel
from medleyrec.recipes.encode import load_features
from medleyrec.recipes.experiment import RUN_RECORD, Experiment
from medleyrec.recipes.identity import identity_of, resolved
from medleyrec.recipes.labels import categories_of
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.ranking import metric_means, ranks_of
from medleyrec.recipes.run import RESULT, Run, open_run
from medleyrec.schema import VALIDATION, Features, InputError
from medleyrec.training import checkpoint
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import Outcome, Trainer
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk


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
        listener.say(f"{folder} is finished already; --again trains it anew.")
        return open_run(folder), False
    features = load_features(split, record["items"])
    device = _device(experiment.train.device)
    accelerator = _accelerator(device, experiment.train.mixed_precision)
    log = split.training_log(refit=refit)
    torch.manual_seed(experiment.train.seed)
    classes = _classes(split, refit=refit)
    model = _model(experiment, split, features, classes)
    classes = _with_padding(classes) if model.padding_class else classes
    for note in model.notes:
        listener.say(note)
    windows = _windows(log, experiment.train, model)
    record = _started(folder, record, original, split, model, windows, classes, accelerator)
    listener.say(f"{record['label']}: {record['parameters']:,} parameters, {windows!r}, on {accelerator.device}.")
    module = TrainingModule(model, classes=classes, chunk=record["softmax_chunk"])
    trainer = Trainer(
        module,
        DeviceLog(log, windows, accelerator.device),
        windows,
        experiment.train,
        folder,
        accelerator=accelerator,
        validate=None if refit else lambda: _validation(split, model, experiment, accelerator),
        on_progress=lambda p: listener.training(record["label"], p),
        on_epoch=lambda entry: listener.epoch(record["label"], entry, best=trainer.state.best_epoch == entry["epoch"]),
    )
    outcome = trainer.run()
    if outcome.interrupted:
        return Run(folder, record), True
    if accelerator.is_main_process:
        _finish(folder, outcome)
    accelerator.wait_for_everyone()
    return open_run(folder), False


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


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"train.device = {wanted!r}, but torch sees no GPU; choose auto or cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise InputError("train.device = 'mps', but torch sees no Metal device; choose auto or cpu")
    if wanted not in ("cpu", "cuda", "mps"):
        raise InputError(f"train.device = {wanted!r} is unknown; choose auto, cpu, cuda or mps")
    return wanted


def _accelerator(device: str, mixed_precision: str) -> Accelerator:
    try:
        return Accelerator(cpu=device == "cpu", mixed_precision=mixed_precision)
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise InputError(f"train.mixed_precision = {mixed_precision!r} does not work here: {told}") from None


def _classes(split: Split, *, refit: bool) -> int | torch.Tensor:
    """Of the softmax: the height of the log's part of the item table, or the rows that a time cut has seen."""
    if refit or not split.is_time_cut:
        return split.dataset.num_log_items
    return torch.from_numpy(np.flatnonzero(split.known))


def _model(experiment: Experiment, split: Split, features: Features, classes: int | torch.Tensor) -> SequenceModel:
    name, settings = experiment.model.name, experiment.model.settings
    labels = categories_of(split, name)
    model = build(name, split.facts, features, train_items=split.in_train, categories=labels, **settings)
    if not isinstance(classes, int):
        model.rows.silence(~split.known)
    return model


def _with_padding(classes: int | torch.Tensor) -> torch.Tensor:
    """Row 0 becomes a class too, as some published code has it."""
    rows = torch.arange(1, classes) if isinstance(classes, int) else classes
    return torch.cat([torch.zeros(1, dtype=torch.int64), rows])


def _windows(log: TrainingLog, config: TrainConfig, model: SequenceModel) -> Windows:
    if config.mode == "prefix":
        return prefix_windows(log, max_length=model.max_length)
    if config.stride > model.max_length:
        raise InputError(
            f"train.stride = {config.stride} is longer than a window of {model.max_length} events; some events would "
            "never be learnt from"
        )
    return one_pass_windows(log, max_length=model.max_length, stride=config.stride or max(1, model.max_length // 2))


def _started(
    folder: Path,
    record: dict[str, Any],
    experiment: Experiment,
    split: Split,
    model: SequenceModel,
    windows: Windows,
    classes: int | torch.Tensor,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """The run's record on disk: found where the run was begun before, else written, with the measured choices in it."""
    if (folder / RUN_RECORD).exists():
        found: dict[str, Any] = storage.read_json(folder / RUN_RECORD)
        return found
    chunk = experiment.train.softmax_chunk or calibrate_chunk(
        targets=min(experiment.train.targets_per_step, windows.targets),
        width=model.rows.out_width,
        classes=classes - 1 if isinstance(classes, int) else len(classes),
        device=accelerator.device,
    )
    train = experiment.train.model_copy(update={"softmax_chunk": chunk})
    complete = {
        **record,
        "experiment": experiment.model_copy(update={"train": train}).model_dump(
            mode="json", exclude={"project", "source", "prepare", "describe", "encode"}
        ),
        "facts": split.facts.to_json(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "softmax_chunk": chunk,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "medleyrec": version("medleyrec"),
            "threads": torch.get_num_threads(),
        },
    }
    if accelerator.is_main_process:
        storage.write_json(folder / RUN_RECORD, complete)
        storage.write_json(folder / "prepared_with.json", split.dataset.manifest["options"])
    return complete


def _validation(
    split: Split, model: SequenceModel, experiment: Experiment, accelerator: Accelerator
) -> dict[str, float]:
    events = split.eval_events(VALIDATION)
    if not len(events):
        raise InputError(
            "there is no validation event (leave-one-out needs users with three events); loosen the filters"
        )
    ranks = ranks_of(
        Frozen(model),
        split,
        events,
        max_length=model.max_length,
        candidates=experiment.evaluate.candidates,
        device=accelerator.device,
    )
    return metric_means(ranks, {*experiment.evaluate.cutoffs, parse_metric(experiment.train.metric)[1]})


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
