"""Model plus objective as one module: what Accelerate, DDP and compile wrap.

Letters:  B rows   L positions   D width   T targets   V classes   S classes drawn   n rows that a step touches
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from medleyrec.models.base import SequenceModel
from medleyrec.schema import PAD, Batch
from medleyrec.training.blocked import Classes, blocked_softmax, check_classes
from medleyrec.training.objectives import sampled_binary
from medleyrec.training.sampling import Sampler, sampled_softmax


class TrainingModule(nn.Module):
    """`forward(batch)` -> the losses by name; "loss" is what to minimise, "ce" its part from the targets.

    Losses are divided by `normaliser`, the targets of the optimiser step over all its processes and parts, so that
    gradients that are SUMMED over processes equal those of one process with all rows. A model with targets of its own
    (masked events) gives their mean, weighted by the batch's share of the step's targets.
    Classes are the item rows 1..classes-1, or the rows named (a time cut leaves out what it had not seen); row 0 is
    padding and no class. A target that is no class is an error.

    With a `sampler` the softmax is estimated from the classes it draws, and only the rows that the step touches are
    made: those of the batch's items, of its targets and of the drawn classes.
    """

    rows: Tensor | None
    number: Tensor | None

    def __init__(
        self, model: SequenceModel, *, classes: int | Tensor, chunk: int, sampler: Sampler | None = None
    ) -> None:
        super().__init__()
        self.model, self.chunk, self.sampler = model, chunk, sampler
        some = None if isinstance(classes, int) else classes
        self.register_buffer("rows", some, persistent=False)  # (V,) rising item rows
        self.register_buffer("number", None if some is None else _numbers(some), persistent=False)
        self.height = classes if isinstance(classes, int) else 0

    def forward(self, batch: Batch, normaliser: float | None = None) -> dict[str, Tensor]:
        if self.sampler is None:
            return self._exact(batch, normaliser)
        self._check(batch)
        numbers, log_expected = self.sampler()  # (S,), (S,)
        drawn = numbers + 1 if self.rows is None else self.rows[numbers]
        batch, drawn, touched = of_a_step(batch, drawn)
        table = self.model.rows(touched)  # (n, D)
        taught = self.model.taught(batch, table)
        summed = sampled_softmax(taught.states, table, taught.targets, drawn, log_expected)
        extra = self.model.extra_losses(batch, taught.encoding, table)
        return _together(summed, extra, batch, len(taught.targets), normaliser)

    def _check(self, batch: Batch) -> None:
        """The exact loss looks up the class of every target; one that draws classes would not miss it."""
        if batch.targets.device.type == "cpu":  # elsewhere the host would wait
            check_classes(self._numbered(batch.targets[batch.targets != PAD]), len(self._classes))

    def _numbered(self, targets: Tensor) -> Tensor:
        """Class numbers (T,) of item rows (T,)."""
        return targets - 1 if self.number is None else self.number[targets]

    @property
    def _classes(self) -> Classes:
        return range(1, self.height) if self.rows is None else self.rows

    def _exact(self, batch: Batch, normaliser: float | None) -> dict[str, Tensor]:
        table = self.model.rows.all()  # (V, D)
        taught = self.model.taught(batch, table)
        summed = self._summed(taught.states, table, self._numbered(taught.targets))
        extra = self.model.extra_losses(batch, taught.encoding, table)
        return _together(summed, extra, batch, len(taught.targets), normaliser)

    def _summed(self, states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """The loss of all targets, class numbers (T,), from their states (T, D); table (n, D)."""
        if self.model.objective == "softmax":
            return blocked_softmax(states, table, targets, classes=self._classes, chunk=self.chunk)
        rows = table[1 : self.height] if self.rows is None else table[self.rows]  # (V, D)
        return sampled_binary(states, rows, targets)


def of_a_step(batch: Batch, drawn: Tensor) -> tuple[Batch, Tensor, Tensor]:
    """`batch` and the item rows `drawn` (S,) in terms of the rows they touch; and those item rows, (n,) rising from 0.

    How many there are is known to the device alone: on a GPU the host waits for it once a step.
    """
    padding = torch.full((1,), PAD, dtype=torch.int64, device=drawn.device)
    mentioned = torch.cat([padding, batch.items.flatten(), batch.targets.flatten(), drawn])
    touched, places = torch.unique(mentioned, return_inverse=True)
    items, targets, drawn = places[1:].split([batch.items.numel(), batch.targets.numel(), len(drawn)])
    shape = batch.items.shape
    return replace(batch, items=items.view(shape), targets=targets.view(shape), touched=touched), drawn, touched


def _together(
    summed: Tensor, extra: dict[str, Tensor], batch: Batch, targets: int, normaliser: float | None
) -> dict[str, Tensor]:
    """`summed` over so many `targets`, and the model's own losses, as shares of the step's."""
    whole = normaliser or batch.num_targets
    ce = summed / whole * (batch.num_targets / targets)  # times 1 where the batch's targets are the model's
    extra = {name: loss * (batch.num_targets / whole) for name, loss in extra.items()}
    return {"loss": ce + sum(extra.values()), "ce": ce, **extra}


def _numbers(rows: Tensor) -> Tensor:
    """Class number of each item row up to the last class. What is no class gets a number that is out of range."""
    numbers = torch.full((int(rows.max()) + 1,), len(rows), dtype=torch.int64)
    numbers[rows] = torch.arange(len(rows))
    return numbers
