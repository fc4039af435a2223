"""The exact softmax over the catalogue, in blocks of targets times blocks of classes that fit the cache.

Letters:  T targets   t targets of a chunk   V classes   c classes of a block   n rows of the table   D width

For a chunk of targets, block b of the classes, and its own largest logit m_b of each target:
    P_b = exp(S R_b' - m_b)                           (t, c), kept; the only look at a logit outside a matrix product
    log Z = log sum_b exp(m_b) sum_c P_b              (t,)
    a_b = exp(m_b - log Z)                            (t,): P_b scaled by it is the softmax
    dS  = sum_b a_b (P_b R_b) - R_target              dR_b += P_b' (a_b S), less S at the targets
What is scaled is the thin side of each product: three products are all that a logit takes part in, and one chunk of
P in memory (`CHUNK_BYTES`) saves a fourth. Gradients are formed on the way, that of the rows in one buffer of the
table's height: nothing of the table's size is copied, sliced or padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = 1 << 30  # ceiling of what is kept of a chunk of logits
CHUNK = 256  # targets; more gain nothing, fewer read the table more often
BLOCK = 4096  # classes: a block of logits of a chunk stays in the cache
WHOLE = 1 << 14  # so many classes are one block
WIDE_BLOCK = 1 << 17  # beside the CPU, where starting a product costs more than memory does

Classes = range | Tensor
"""Rows of the table that are classes, rising: all of a range, or those of a tensor (V,)."""


def chunk_of(targets: int, classes: int, *, size: int = 4) -> int:
    """Targets of a chunk whose logits of `size` bytes stay under the ceiling."""
    return max(1, min(targets, CHUNK, CHUNK_BYTES // (size * classes)))


def block_of(classes: int, device: torch.device | str = "cpu") -> int:
    """Classes of a block."""
    if torch.device(device).type != "cpu":
        return WIDE_BLOCK
    return classes if classes <= WHOLE else BLOCK


def blocked_softmax(states: Tensor, table: Tensor, targets: Tensor, *, classes: Classes, chunk: int) -> Tensor:
    """Summed cross entropy of the class numbers `targets` (T,) under softmax(states (T, D) . rows (V, D)), a scalar.

    The rows are those of `table` (n, D) that `classes` names. Products and sums are of the table's dtype, whatever
    autocast says. A target that is no class is an error.
    """
    check_classes(targets, len(classes))
    loss: Tensor = _Blocked.apply(states, table, targets, classes, chunk)  # type: ignore[no-untyped-call]
    return loss


def check_classes(targets: Tensor, classes: int) -> None:
    """Raises IndexError where one of the class numbers (T,) is none of so many classes; looks on the CPU alone."""
    if targets.device.type != "cpu":  # the host would wait, and the gathers of a loss say it there
        return
    if not bool(((targets >= 0) & (targets < classes)).all()):
        raise IndexError(f"a target is none of the {classes} classes of the softmax")


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, classes: Classes, chunk: int) -> Tensor:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        ctx.dtype = states.dtype
        with torch.autocast(states.device.type, enabled=False):
            work = _Work(states.to(table.dtype), table, classes, chunk, gradients=wanted)
            own = targets + classes.start if isinstance(classes, range) else classes[targets]
            loss = torch.stack([work.chunk(at, own[at : at + chunk]) for at in range(0, len(states), chunk)]).sum()
        ctx.gradients = (work.of_states, work.of_table) if wanted else None
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of blocked_softmax can be taken once; compute the loss again")
        (of_states, of_table), ctx.gradients = ctx.gradients, None
        return of_states.mul_(above).to(ctx.dtype), of_table.mul_(above), None, None, None


class _Work:
    """Buffers of one step."""

    def __init__(self, states: Tensor, table: Tensor, classes: Classes, chunk: int, *, gradients: bool) -> None:
        self.states, self.table, self.classes, self.gradients = states, table, classes, gradients
        block = block_of(len(classes), table.device)
        self.spans = [(b, min(b + block, len(classes))) for b in range(0, len(classes), block)]
        held = min(chunk, len(states)) * (len(classes) if gradients else block)
        self.held = table.new_empty(held)  # P of a chunk, block after block
        self.of_states = torch.empty_like(states) if gradients else states
        self.of_table = torch.zeros_like(table) if gradients else table

    def chunk(self, at: int, own: Tensor) -> Tensor:
        """The loss of the targets from `at` on whose table rows are `own` (t,)."""
        states = self.states[at : at + len(own)]  # (t, D)
        wanted = self.table[own]  # (t, D)
        found = [self._exponentials(states, rows, block) for rows, block in self._blocks(states)]
        largest, sums = torch.stack([one for one, _ in found]), torch.stack([other for _, other in found])
        log_z = (largest + sums.log()).logsumexp(0)  # (blocks, t) -> (t,)
        if self.gradients:
            self._back(at, states, (largest - log_z).exp(), own, wanted)
        return (log_z - (states * wanted).sum(-1)).sum()

    def _blocks(self, states: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows (c, D) and the place of P (t, c) of each block."""
        for first, last in self.spans:
            start = len(states) * first if self.gradients else 0
            place = self.held[start : start + len(states) * (last - first)].view(len(states), -1)
            yield self._rows(first, last), place

    def _rows(self, first: int, last: int) -> Tensor:
        """(c, D): a view where the classes are a range."""
        which = self.classes[first:last]
        return self.table[which.start : which.stop] if isinstance(which, range) else self.table[which]

    def _exponentials(self, states: Tensor, rows: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        torch.mm(states, rows.T, out=block)
        largest = block.amax(1)  # (t,)
        return largest, block.sub_(largest[:, None]).exp_().sum(1)

    def _back(self, at: int, states: Tensor, scales: Tensor, own: Tensor, wanted: Tensor) -> None:
        summed, part = wanted.neg(), torch.empty_like(wanted)
        blocks = zip(self.spans, scales[..., None], self._blocks(states), strict=True)
        for (first, last), scale, (rows, block) in blocks:
            summed.addcmul_(torch.mm(block, rows, out=part), scale)
            self._add(first, last, block.T, states * scale)
        self.of_states[at : at + len(states)] = summed
        self.of_table.index_add_(0, own, states, alpha=-1)

    def _add(self, first: int, last: int, weights: Tensor, states: Tensor) -> None:
        """weights (c, t) times states (t, D), into the gradient of a block of classes."""
        which = self.classes[first:last]
        if isinstance(which, range):
            self.of_table[which.start : which.stop].addmm_(weights, states)
        else:
            self.of_table.index_add_(0, which, weights @ states)
