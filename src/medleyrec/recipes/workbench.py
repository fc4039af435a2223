"""All that a training needs, built from an experiment: what `train` runs on and `plan` measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, prefix_windows
from medleyrec.dataset.split import Split, TrainingLog
from medleyrec.evaluation.metrics import parse_metric
from medleyrec.evaluation.ranking import Ranks
from medleyrec.models import build
from medleyrec.models.base import Frozen, SequenceModel
from medleyrec.recipes.classes import classes_of, softmax_choice
from medleyrec.recipes.encode import load_features
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.labels import categories_of
from medleyrec.recipes.ranking import metric_means, ranks_of
from medleyrec.schema import VALIDATION, EvalEvents, Features, InputError
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import Trainer
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk
from medleyrec.training.sampling import Sampler, class_counts
from medleyrec.training.softmax import Softmax


@dataclass(frozen=True, eq=False, repr=False)
class Workbench:
    """`experiment` is resolved; with `refit` its epochs are those to run."""

    experiment: Experiment
    label: str
    split: Split
    refit: bool
    accelerator: Accelerator
    log: TrainingLog
    model: SequenceModel
    classes: int | torch.Tensor
    windows: Windows

    def __repr__(self) -> str:
        return f"Workbench({self.label}: {self.parameters:,} parameters, {self.windows!r})"

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def on_gpu(self) -> bool:
        return bool(self.accelerator.device.type == "cuda")

    @property
    def num_classes(self) -> int:
        """Of the softmax."""
        return self.classes - 1 if isinstance(self.classes, int) else len(self.classes)

    @cached_property
    def device_log(self) -> DeviceLog:
        return DeviceLog(self.log, self.windows, self.accelerator.device)

    @cached_property
    def validation_events(self) -> EvalEvents:
        """Raises InputError where there are none."""
        events = self.split.eval_events(VALIDATION)
        if not len(events):
            raise InputError(
                "there is no validation event (leave-one-out needs users with three events); loosen the filters"
            )
        return events

    @cached_property
    def softmax(self) -> Softmax:
        """Whether it draws some of its classes for each step."""
        return softmax_choice(self.experiment, self.split, refit=self.refit)

    def sampler(self) -> Sampler | None:
        if not self.softmax.sampled:
            return None
        return Sampler(class_counts(self.log, self.classes), self.softmax.negatives)

    def chunk(self) -> int:
        """Of the softmax: as set, or the fastest here."""
        config = self.experiment.train
        return config.softmax_chunk or calibrate_chunk(
            targets=min(config.targets_per_step, self.windows.targets),
            width=self.model.rows.out_width,
            classes=self.num_classes,
            device=self.accelerator.device,
        )

    def trainer(
        self, folder: Path, config: TrainConfig, *, chunk: int, accelerator: Accelerator | None = None, **hooks: Any
    ) -> Trainer:
        return Trainer(
            TrainingModule(self.model, classes=self.classes, chunk=chunk, sampler=self.sampler()),
            self.device_log,
            self.windows,
            config,
            folder,
            accelerator=accelerator or self.accelerator,
            **hooks,
        )

    def ranks(self, events: EvalEvents) -> Ranks:
        return ranks_of(
            Frozen(self.model),
            self.split,
            events,
            max_length=self.model.max_length,
            candidates=self.experiment.evaluate.candidates,
            device=self.accelerator.device,
        )

    def validation(self) -> dict[str, float]:
        config = self.experiment
        ranks = self.ranks(self.validation_events)
        return metric_means(ranks, {*config.evaluate.cutoffs, parse_metric(config.train.metric)[1]})


def workbench(experiment: Experiment, split: Split, record: dict[str, Any], *, refit: bool) -> Workbench:
    """`record` is the run's identity. Weights are drawn from `train.seed`."""
    config = experiment.train
    features = load_features(split, record["items"])
    accelerator = new_accelerator(config)
    log = split.training_log(refit=refit)
    torch.manual_seed(config.seed)
    classes = classes_of(split, refit=refit)
    model = _model(experiment, split, features, classes)
    classes = _with_padding(classes) if model.padding_class else classes
    windows = _windows(log, config, model)
    return Workbench(experiment, record["label"], split, refit, accelerator, log, model, classes, windows)


def new_accelerator(config: TrainConfig) -> Accelerator:
    device = _device(config.device)
    try:
        return Accelerator(cpu=device == "cpu", mixed_precision=config.mixed_precision)
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise InputError(f"train.mixed_precision = {config.mixed_precision!r} does not work here: {told}") from None


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
