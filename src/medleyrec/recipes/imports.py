"""A published HM4SR, trained elsewhere, judged on a project's test events.

The file holds `state_dict`, `time_moe_expert` (K, 3H) and `item_ids`, the external id of every row of its item table
(row 0 is padding); three lines of the README export it from a RecBole checkpoint. Texts and pictures are those of the
file, so the project needs no features; items are matched by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import event_values, metric_names
from medleyrec.evaluation.statistics import Estimate, intervals
from medleyrec.models.base import Frozen
from medleyrec.models.hm4sr import HM4SR
from medleyrec.models.published import EXPERTS, build_published
from medleyrec.recipes.numbers import read_numbers
from medleyrec.recipes.ranking import ranks_of
from medleyrec.schema import PAD, TEST, InputError, Int64s

IDS = "item_ids"
NO_LOSSES = {"idcl": 0.0, "pcl": 0.0, "cp": 0.0}  # nothing is trained, so their heads are not built


def run_import(
    split: Split, path: Path, *, heads: int = 2, interval_scale: float = 100, cutoffs: Sequence[int] = (5, 10, 20)
) -> dict[str, Estimate]:
    """Metrics of the published weights on the test events of `split`, with intervals over users.

    heads, interval_scale: what the weights do not tell of the settings they were trained with.
    """
    model = published_model(split, path, heads=heads, interval_scale=interval_scale)
    events = split.eval_events(TEST)
    ranks = ranks_of(Frozen(model), split, events, max_length=model.max_length)
    return intervals(event_values(ranks, metric_names(tuple(cutoffs))), events.users)


def published_model(split: Split, path: Path, *, heads: int = 2, interval_scale: float = 100) -> HM4SR:
    """Our model with the weights of `path`, its item rows in the order of the split's dataset; in evaluation mode."""
    numbers = read_numbers(path)
    for key in ("state_dict", EXPERTS, IDS):
        if key not in numbers:
            raise InputError(f"{path} has no {key!r}; export it as the README says, together with the weights")
    settings = {"heads": heads, "interval_scale": interval_scale, "dropout": 0.0, **NO_LOSSES}
    rows = _rows(split, numbers, path)
    return build_published(numbers["state_dict"], _stacked(numbers), settings, where=str(path), rows=rows).eval()


def _stacked(numbers: Mapping[str, Any]) -> Tensor:
    """The temporal experts as one tensor; a list of vectors serves too."""
    given = numbers[EXPERTS]
    return given if isinstance(given, Tensor) else torch.stack(list(given))


def _rows(split: Split, numbers: Mapping[str, Any], path: Path) -> Int64s:
    """(V,) the file's row of each of ours. An item outside the log that the file lacks gets the padding row."""
    theirs = {str(name): row for row, name in enumerate(numbers[IDS]) if row != PAD}
    ours = split.dataset.item_ids
    lacking = [name for name in ours[1 : split.dataset.num_log_items] if name not in theirs]
    if lacking:
        shown = ", ".join(repr(name) for name in lacking[:3])
        raise InputError(
            f"{path} lacks {len(lacking)} of {split.dataset.num_log_items - 1} items of the log, such as {shown}; "
            "prepare the same log with the same filters as the weights were trained on"
        )
    height = len(numbers["state_dict"]["item_embedding.weight"])
    if len(theirs) != height - 1:
        raise InputError(f"{path} has {len(theirs)} item ids for {height - 1} items; export both from one dataset")
    return np.array([PAD, *(theirs.get(name, PAD) for name in ours[1:])], np.int64)
