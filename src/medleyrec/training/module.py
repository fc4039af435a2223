"""Model plus objective as one module: what Accelerate, DDP and compile wrap.

Letters:  B rows   L positions   D width   T targets   V classes
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medleyrec.models.base import SequenceModel
from medleyrec.schema import PAD, Batch
from medleyrec.training.objectives import catalogue_softmax


class TrainingModule(nn.Module):
    """`forward(batch)` -> the losses by name; "loss" is what to minimise, "ce" its part from the catalogue softmax.

    Losses are divided by `normaliser`, the targets of the optimiser step over all its processes and parts, so that
    gradients that are SUMMED over processes equal those of one process with all rows.
    Classes are the item rows 1..classes-1, or the rows named (a time cut leaves out what it had not seen); row 0 is
    padding and no class. A target that is no class is an error.
    """

    rows: Tensor | None
    number: Tensor | None

    def __init__(self, model: SequenceModel, *, classes: int | Tensor, chunk: int) -> None:
        super().__init__()
        self.model, self.chunk = model, chunk
        some = None if isinstance(classes, int) else classes
        self.register_buffer("rows", some, persistent=False)  # (V,) rising item rows
        self.register_buffer("number", None if some is None else _numbers(some), persistent=False)
        self.height = classes if isinstance(classes, int) else 0

    def forward(self, batch: Batch, normaliser: float | None = None) -> dict[str, Tensor]:
        table = self.model.rows.all()  # (V, D)
        encoding = self.model.encode(batch, table)
        taught = torch.nonzero_static((batch.targets != PAD).flatten(), size=batch.num_targets)[:, 0]
        states = encoding.states.flatten(0, 1)[taught]  # (T, D)
        targets = batch.targets.flatten()[taught]
        if self.rows is None or self.number is None:
            rows, targets = table[1 : self.height], targets - 1
        else:
            rows, targets = table[self.rows], self.number[targets]
        summed = catalogue_softmax(states, rows, targets, chunk=self.chunk)
        share = batch.num_targets / (normaliser or batch.num_targets)
        ce = summed / (normaliser or batch.num_targets)
        extra = {name: loss * share for name, loss in self.model.extra_losses(batch, encoding, table).items()}
        return {"loss": ce + sum(extra.values()), "ce": ce, **extra}


def _numbers(rows: Tensor) -> Tensor:
    """Class number of each item row up to the last class. What is no class gets a number that is out of range."""
    numbers = torch.full((int(rows.max()) + 1,), len(rows), dtype=torch.int64)
    numbers[rows] = torch.arange(len(rows))
    return numbers
