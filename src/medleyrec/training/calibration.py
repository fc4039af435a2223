"""A few real steps of the real model on real windows, for what they take; nothing is learnt from them.

In comes a Trainer with a learning rate of 0, so that weights stay as they are to the bit. Steps grow: small shares of
the epoch's largest step are tried first, and more of it only where that promises to fit the room. Where all of it does
not, steps are taken in parts, then the softmax in smaller chunks (estimate.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

from medleyrec.dataset.batches import plan_steps
from medleyrec.schema import Int64s
from medleyrec.training.estimate import Peak, Seconds, Shape, choices
from medleyrec.training.loop import Trainer
from medleyrec.training.memory import Meter, Room, returned
from medleyrec.training.module import TrainingModule
from medleyrec.training.parts import COMMON

SHARES = (1 / 64, 1 / 16, 1 / 4)  # of the largest step, tried before it
ALWAYS = 2  # of these; the second one is as little as a part of a step can be
ENOUGH = 6.0  # seconds for whole steps
MOST_STEPS, LEAST_STEPS = 16, 6
TIMED = 3  # whole steps that are enough to judge time by


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the steps of an epoch take."""

    steps: int
    seconds: float
    peak: int
    """Bytes at the highest point of a step; where nothing fits, of the most thrifty choice."""
    base: int
    """Bytes before the first step: program, data, weights."""
    after: int
    """Bytes between steps: with the optimiser's state."""
    optimizer: int
    """Bytes of that state."""
    logits: int
    """Bytes of a chunk of the softmax."""
    step_positions: int
    chunk: int
    parts: int
    """Of the step that has most."""
    own_losses: tuple[str, ...]
    """Losses that do not add up over parts of a step, so that it is not taken in parts."""
    fits: bool


def calibrate(trainer: Trainer, room: Room, meter: Meter) -> Calibration:
    """Leaves the chosen positions and chunk in `trainer`, and the random state as it was."""
    with torch.random.fork_rng():
        return _Rehearsal(trainer, room, meter).run()


class _Rehearsal:
    def __init__(self, trainer: Trainer, room: Room, meter: Meter) -> None:
        self.trainer, self.room, self.meter, self.windows = trainer, room, meter, trainer.windows
        self.module: TrainingModule = trainer.accelerator.unwrap_model(trainer.module)
        self.logits = _logits(self.module)
        config = trainer.config
        self.steps = plan_steps(self.windows, seed=config.seed, epoch=0, targets_per_step=config.targets_per_step)
        self.probes = self._spread()
        self.tried: list[tuple[Shape, float, int]] = []  # shares of the largest step: seconds, peak
        self.whole: list[tuple[Shape, float]] = []

    def _spread(self) -> list[Int64s]:
        """Steps of all sizes, the largest first."""
        sizes = [len(rows) * int(self.windows.lengths[rows].max()) for rows in self.steps]
        some = np.unique(np.linspace(0, len(sizes) - 1, MOST_STEPS).round().astype(int))
        rising = np.argsort(sizes, kind="stable")[some]
        order = [rising[-1], *np.random.default_rng(0).permutation(rising[:-1])]
        return [self.steps[i] for i in order]

    def run(self) -> Calibration:
        base, largest = self.meter.now(), self.probes[0]
        own = self._own_losses(self._share(largest, SHARES[0]))
        peak = self._try_shares(largest)
        options, whole = self._options(splits=not own), 0
        while fits := self._choose(peak, options):
            whole = self._try_whole()
            if whole <= self.room.size:
                break
            returned()
        highest = max(self._predicted(peak), whole, *(most for _, _, most in self.tried))
        few = [] if whole and len(self.whole) >= TIMED else [(shape, took) for shape, took, _ in self.tried]
        timed = self.whole + few
        seconds, shapes = Seconds.fit(timed), [self._shape(rows) for rows in self.steps]
        return Calibration(
            steps=len(shapes),
            seconds=sum(map(seconds, shapes)),
            peak=highest,
            base=base,
            after=self.meter.now(),
            optimizer=_state_bytes(self.trainer.optimizer),
            logits=self.logits * min(self.module.chunk, max(shape.taught for shape in shapes)),
            step_positions=self.trainer.config.step_positions,
            chunk=self.module.chunk,
            parts=max(shape.parts for shape in shapes),
            own_losses=own,
            fits=fits,
        )

    def _share(self, step: Int64s, share: float) -> Int64s:
        """Some of a step's rows, the longest."""
        rising = step[np.argsort(self.windows.lengths[step], kind="stable")]
        return rising[-max(1, round(len(step) * share)) :]

    def _own_losses(self, rows: Int64s) -> tuple[str, ...]:
        self.module.train()
        with torch.no_grad():
            return tuple(sorted(self.module(self.trainer.log.batch(rows)).keys() - COMMON))

    def _shape(self, rows: Int64s) -> Shape:
        return Shape.of(rows, self.windows, self.trainer.config.step_positions)

    def _try(self, rows: Int64s) -> tuple[Shape, float, int]:
        """Shape, seconds and peak of one step."""
        took = 0.0

        def work() -> None:
            nonlocal took
            started = time.perf_counter()
            self.trainer.rehearse(rows)
            if self.meter.on_gpu:
                torch.cuda.synchronize(self.meter.device)
            took = time.perf_counter() - started

        peak = self.meter.peak(work)
        return self._shape(rows), took, peak

    def _options(self, *, splits: bool) -> Iterator[tuple[int, int]]:
        return choices(
            self.probes[0],
            self.windows,
            budget=self.trainer.config.step_positions,
            chunk=self.module.chunk,
            splits=splits,
            chunks=self.logits > 0,
        )

    def _choose(self, peak: Peak, options: Iterator[tuple[int, int]]) -> bool:
        """Set the next of the options whose steps should fit the room, or the last one; whether one does."""
        for budget, chunk in options:
            self.trainer.config = self.trainer.config.model_copy(update={"step_positions": budget})
            self.module.chunk = chunk
            if self._predicted(peak) <= self.room.size:
                return True
        return False

    def _predicted(self, peak: Peak) -> int:
        return max(peak(self._shape(rows), self.module.chunk) for rows in self.probes)

    def _try_shares(self, step: Int64s) -> Peak:
        """Growing shares of a step, as long as they promise to fit the room."""
        self._try(self._share(step, SHARES[0]))  # pays for what is made once
        peak = Peak(0, 0, 0)
        for number, share in enumerate(SHARES):
            rows = self._share(step, share)
            if number >= ALWAYS and peak(self._shape(rows), self.module.chunk) > self.room.size:
                break
            returned()
            self.tried.append(self._try(rows))
            measured = [(shape, most) for shape, _, most in self.tried[-2:]]
            if number:
                peak = Peak.fit(measured, chunk=self.module.chunk, logits=self.logits)
        return peak

    def _try_whole(self) -> int:
        """Whole steps for some seconds; returns their peak, 0 where the largest one takes too long to be tried.

        Its shares are of its own long rows alone. Steps of shorter ones, which other terms of time weigh on, are then
        tried as far as they can be afforded.
        """
        self.whole.clear()
        shape, took, _ = self.tried[-1]
        per_position = took / shape.positions
        steps = [rows for rows in self.probes if per_position * self._shape(rows).positions <= ENOUGH]
        if not steps:
            return 0
        largest = steps[0] is self.probes[0]
        shape, took, highest = self._try(steps[0])  # pays for memory that is new: its time does not count
        left = ENOUGH - took
        for rows in islice(cycle(steps), max(LEAST_STEPS, len(steps))):
            if took > left:
                break
            shape, took, peak = self._try(rows)
            left, highest = left - took, max(highest, peak)
            self.whole.append((shape, took))
        return highest if largest else 0


def _logits(module: TrainingModule) -> int:
    """Bytes of the logits of one target, where they are formed chunk by chunk."""
    if module.sampler is not None or module.model.objective != "softmax":
        return 0
    return 4 * (module.height - 1 if module.rows is None else len(module.rows))


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    tensors = (value for state in optimizer.state.values() for value in state.values())
    return sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
