"""Model plus objective as one module: what Accelerate, DDP and compile wrap.

Letters:  B rows   L positions   D width   T targets   V classes
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medleyrec.models.base import SequenceModel
from medleyrec.schema import Batch
from medleyrec.training.objectives import catalogue_softmax, sampled_binary


class TrainingModule(nn.Module):
    """`forward(batch)` -> the losses by name; "loss" is what to minimise, "ce" its part from the targets.

    Losses are divided by `normaliser`, the targets of the optimiser step over all its processes and parts, so that
    gradients that are SUMMED over processes equal those of one process with all rows. A model with targets of its own
    (masked events) gives their mean, weighted by the batch's share of the step's targets.
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
        taught = self.model.taught(batch, table)
        targets = taught.targets  # (T,)
        if self.rows is None or self.number is None:
            rows, targets = table[1 : self.height], targets - 1
        else:
            rows, targets = table[self.rows], self.number[targets]
        summed = self._summed(taught.states, rows, targets)
        whole = normaliser or batch.num_targets
        ce = summed / whole * (batch.num_targets / len(targets))  # times 1 where the batch's targets are the model's
        extra = self.model.extra_losses(batch, taught.encoding, table)
        extra = {name: loss * (batch.num_targets / whole) for name, loss in extra.items()}
        return {"loss": ce + sum(extra.values()), "ce": ce, **extra}

    def _summed(self, states: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """The loss of all targets (T,) from their states (T, D); rows (V, D)."""
        if self.model.objective == "bce":
            return sampled_binary(states, rows, targets)
        return catalogue_softmax(states, rows, targets, chunk=self.chunk)


def _numbers(rows: Tensor) -> Tensor:
    """Class number of each item row up to the last class. What is no class gets a number that is out of range."""
    numbers = torch.full((int(rows.max()) + 1,), len(rows), dtype=torch.int64)
    numbers[rows] = torch.arange(len(rows))
    return numbers
