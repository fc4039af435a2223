"""The sampled softmax: each target is told from classes drawn for the whole step, not from all of the catalogue.

Letters:  V classes   S classes drawn, shared by all targets of the step   T targets   D width   n rows of the table

Classes are drawn with replacement, class c with chance q_c; what is drawn is expected S q_c times. The sum over the
catalogue is estimated by
    Z_t = exp(x_t) + sum over the drawn c that are not t of exp(x_c - log(S q_c))         x_c = state . row of c
    loss = log Z_t - x_t
This is the importance sampling of Bengio & Senecal (2003, 2008): the log of its expected count is subtracted from the
logit of EVERY candidate. That of the target is log 1: it is put there once and for certain, and where it is drawn as
well (an accidental hit) the drawn one does not count. So E[Z_t] is the exact sum whatever S is, and loss and gradient
become the exact ones as S grows. The other habit also subtracts log(S q_t) from the target's own logit (in-batch
negatives, Yi et al. 2019). There the target is in the list because it was drawn; here, where it is put in by hand and
hits are masked, that would count it 1 / (S q_t) times: rare targets far too often, and none as S grows.

No class is left out by q: it mixes a power of the popularity with the same for all (`tickets`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medleyrec.dataset.split import TrainingLog
from medleyrec.schema import Int64s

EXACT_CLASSES = 2_000_000
"""Above it the automatic choice is the sampled softmax. A fixed number: a run is the same on every machine."""
NEGATIVES = 8192
POWER = 1.0  # of the popularity
EVEN = 0.1  # share of the draws in which all classes are alike: bounds the weight of a rare draw
TICKETS = 1 << 50
LOGITS_BYTES = 8 << 20  # of a chunk of targets: stays in the cache


def tickets(counts: Int64s, *, power: float = POWER, even: float = EVEN) -> Int64s:
    """How many tickets each class holds in the draw, (V,): its chance is its share of them. At least one each.

    counts: (V,) training targets of each class. Whole numbers, so that the draw is the same on every device.
    """
    weight = counts.astype(np.float64) ** power * (counts > 0)
    total = weight.sum()
    popular = weight / total if total else np.full(len(counts), 1 / len(counts))
    return np.maximum(((1 - even) * TICKETS * popular + even * TICKETS / len(counts)).astype(np.int64), 1)


def class_counts(log: TrainingLog, classes: int | Tensor) -> Int64s:
    """(V,) training events of each class; classes as a TrainingModule takes them."""
    counts = np.zeros(log.num_items, np.int64)
    for block in log.blocks():
        counts += np.bincount(block.items[block.events], minlength=log.num_items)
    return counts[1:classes] if isinstance(classes, int) else counts[classes.cpu().numpy()]


class Sampler(nn.Module):
    """`forward()` -> (numbers (S,) of the classes drawn, logs (S,) of how often each was expected among them).

    Drawn on the device of its buffer by torch's generator there: a function of the step's seed. 8 bytes a class.
    """

    upto: Tensor

    def __init__(self, counts: Int64s, negatives: int) -> None:
        super().__init__()
        self.negatives = negatives
        held = tickets(counts).cumsum()
        self.total = int(held[-1])
        self.register_buffer("upto", torch.from_numpy(held), persistent=False)  # (V,) tickets up to and with a class

    def forward(self) -> tuple[Tensor, Tensor]:
        ticket = torch.randint(self.total, (self.negatives,), device=self.upto.device)
        numbers = torch.searchsorted(self.upto, ticket, right=True)
        return numbers, self.log_expected(numbers)

    def log_expected(self, numbers: Tensor) -> Tensor:
        """log(S q_c) of the classes `numbers`, float32."""
        before = torch.where(numbers > 0, self.upto[(numbers - 1).clamp(min=0)], 0)
        held = self.upto[numbers] - before
        return held.float().log() + (math.log(self.negatives) - math.log(self.total))

    def __repr__(self) -> str:
        return f"Sampler({self.negatives} of {len(self.upto)} classes)"


def sampled_softmax(states: Tensor, table: Tensor, targets: Tensor, drawn: Tensor, log_expected: Tensor) -> Tensor:
    """Summed loss of `targets` (T,) from `states` (T, D) against the classes `drawn` (S,), a scalar.

    Targets and drawn are rows of `table` (n, D); log_expected (S,): of how often each is drawn in a step. Products and
    sums are of the table's dtype, whatever autocast says.
    """
    wanted, others = F.embedding(targets, table), F.embedding(drawn, table)  # (T, D), (S, D)
    hits = (drawn, targets)
    loss: Tensor = _Sampled.apply(states, wanted, others, log_expected.to(table.dtype), hits)  # type: ignore[no-untyped-call]
    return loss


class _Sampled(torch.autograd.Function):
    """Chunk by chunk, gradients formed on the way; `hits` (S,) and (T,) are what must differ for a draw to count."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, wanted: Tensor, others: Tensor, log_expected: Tensor, hits: tuple[Tensor, Tensor]
    ) -> Tensor:
        ctx.dtype, drawn, targets = states.dtype, *hits
        chunk = max(1, LOGITS_BYTES // (others.element_size() * len(others)))
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(others.dtype)
            own = (states * wanted).sum(-1)  # (T,)
            of_states, of_others = torch.empty_like(states), torch.zeros_like(others)
            log_z = torch.empty_like(own)
            for at in range(0, len(states), chunk):
                part = slice(at, at + chunk)
                logits = torch.addmm(-log_expected, states[part], others.T)  # (t, S)
                logits.masked_fill_(targets[part, None] == drawn, float("-inf"))
                log_z[part] = torch.logaddexp(logits.logsumexp(1), own[part])
                weights = logits.sub_(log_z[part, None]).exp_()
                torch.mm(weights, others, out=of_states[part])
                of_others.addmm_(weights.T, states[part])
            missed = -torch.expm1(own - log_z)[:, None]  # (T, 1) one less the target's share
        ctx.save_for_backward(of_states.addcmul_(missed, wanted, value=-1), missed * states, of_others)
        return (log_z - own).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        of_states, of_wanted, of_others = ctx.saved_tensors
        return (of_states * above).to(ctx.dtype), of_wanted * -above, of_others * above, None, None
