"""The classes of a run's softmax, and whether it draws some of them for each step."""

from __future__ import annotations

import numpy as np
import torch

from medleyrec.config import parse
from medleyrec.dataset.split import Split
from medleyrec.models import model_class
from medleyrec.recipes.experiment import Experiment
from medleyrec.training.softmax import Softmax, softmax_of


def classes_of(split: Split, *, refit: bool) -> int | torch.Tensor:
    """The height of the log's part of the item table, or the rows that a time cut has seen."""
    if refit or not split.is_time_cut:
        return split.dataset.num_log_items
    return torch.from_numpy(np.flatnonzero(split.known))


def softmax_choice(experiment: Experiment, split: Split, *, refit: bool) -> Softmax:
    """Of a resolved experiment."""
    cls = model_class(experiment.model.name)
    settings = parse(cls.Settings, experiment.model.settings, where=f"model {experiment.model.name}")
    classes = classes_of(split, refit=refit)
    count = classes - 1 if isinstance(classes, int) else len(classes)
    return softmax_of(experiment.train, count, refused=cls.unsampled(settings))
