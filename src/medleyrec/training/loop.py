"""The training loop: steps, early stopping, checkpoints, and the same result after a kill.

Every step seeds its own random numbers from (seed, step), and the order of an epoch is a function of (seed, epoch):
weights, optimiser and a few integers are all the state there is.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from medleyrec import storage
from medleyrec.dataset.batches import DeviceLog, Windows, plan_steps
from medleyrec.interrupts import on_ctrl_c
from medleyrec.schema import InputError, Int64s
from medleyrec.training import checkpoint
from medleyrec.training.config import TrainConfig
from medleyrec.training.memory import Heap, few_primitives, pile_of, returned
from medleyrec.training.module import TrainingModule
from medleyrec.training.optimizer import optimizer_of
from medleyrec.training.parts import check_sums, parts_of

Validate = Callable[[], dict[str, float]]
LOG = "train.jsonl"
BEST = "best.safetensors"
LOOK_EVERY = 0.5  # seconds between two looks at the running loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a running epoch looks like from outside."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    targets_per_second: float
    best: float | None
    seconds_left: float
    """Of this epoch."""


@dataclass(slots=True)
class State:
    """Where training stands; JSON in every checkpoint."""

    epoch: int = 0  # epochs finished
    step: int = 0  # steps finished in the running epoch
    steps: int = 0  # steps finished in all
    best: float | None = None
    best_epoch: int = 0
    loss_sum: float = 0.0  # of the running epoch
    seconds: float = 0.0  # spent on steps in the running epoch
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """best_epoch counts from 1; `interrupted` says that the run can be continued."""

    best_epoch: int
    best: float | None
    history: tuple[dict[str, Any], ...]
    interrupted: bool


class Trainer:
    """Trains `module` on `windows`; `validate` is all it knows of evaluation, and it never sees test data.

    Without `validate` (a refit) it runs `config.epochs` epochs and keeps the last weights.
    """

    def __init__(
        self,
        module: TrainingModule,
        log: DeviceLog,
        windows: Windows,
        config: TrainConfig,
        folder: Path,
        *,
        accelerator: Accelerator,
        validate: Validate | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
        on_resume: Callable[[State], None] | None = None,
    ) -> None:
        if not windows.targets:
            raise InputError("the training part has no user with two events: there is nothing to learn from")
        few_primitives()
        self.config, self.folder, self.windows, self.log = config, folder, windows, log
        self.accelerator, self.validate = accelerator, validate
        self.on_progress, self.on_epoch, self.on_resume = on_progress, on_epoch, on_resume
        self.model = module.model
        optimizer = optimizer_of(module, config, processes=accelerator.num_processes)
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.state = State()
        self._exact = torch.float32 if accelerator.device.type == "mps" else torch.float64
        self._heap = Heap(pile_of(config.memory_limit))
        self._stop = False
        self._saved_at = time.monotonic()

    def run(self) -> Outcome:
        """Train to the end, or to an interruption; continue where a checkpoint in the folder stands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        with self._interruptible():
            while not self._finished():
                if not self._epoch():
                    self._save()
                    return self._outcome(interrupted=True)
                self._close_epoch()
        self.accelerator.wait_for_everyone()  # the main process writes the weights that all of them read
        if (self.folder / BEST).exists():
            checkpoint.load_weights(self.model, self.folder / BEST)
        return self._outcome(interrupted=False)

    def _outcome(self, *, interrupted: bool) -> Outcome:
        state = self.state
        return Outcome(state.best_epoch or state.epoch, state.best, tuple(state.history), interrupted)

    def _resume(self) -> None:
        found = checkpoint.load_checkpoint(self.folder, self.model, self.optimizer)
        if found is not None:
            self.state = State(**found)
            if self.on_resume is not None:
                self.on_resume(self.state)
        if self.accelerator.is_main_process:
            lines = "".join(json.dumps(entry) + "\n" for entry in self.state.history)
            storage.write_text(self.folder / LOG, lines)  # epochs after the checkpoint are run, and logged, again

    def _finished(self) -> bool:
        state = self.state
        waited = state.epoch - state.best_epoch
        return state.epoch >= self.config.epochs or (self.validate is not None and waited >= self.config.patience)

    def _epoch(self) -> bool:
        """Run what is left of an epoch; False where it was interrupted."""
        config, state = self.config, self.state
        plan = plan_steps(self.windows, seed=config.seed, epoch=state.epoch, targets_per_step=config.targets_per_step)
        self.module.train()
        taught = int(sum(self.windows.fresh[rows].sum() for rows in plan[: state.step]))
        loss_sum = torch.tensor(state.loss_sum, dtype=self._exact, device=self.accelerator.device)
        before, started, looked = state.seconds, time.perf_counter(), 0.0
        done = 0
        for rows in plan[state.step :]:
            targets = int(self.windows.fresh[rows].sum())
            loss_sum += self._step(rows, targets) * targets
            done += targets
            state.step, state.steps = state.step + 1, state.steps + 1
            state.seconds = before + time.perf_counter() - started
            if state.seconds - looked > LOOK_EVERY:
                looked = state.seconds
                self._heap.look()
                self._look(loss_sum, taught + done, done / (state.seconds - before), len(plan))
            if self._stop or self._checkpoint_due():
                state.loss_sum = loss_sum.item()
                if self._stop and state.step < len(plan):
                    return False
                self._save()
        state.loss_sum = float(self.accelerator.reduce(loss_sum, "mean").item())
        return True

    def _step(self, rows: Any, targets: int) -> Tensor:
        """One optimiser step; returns the loss of this process's rows; its mean over processes is the step's."""
        process, world = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(self.config.seed * 1_000_003 + self.state.steps * world + process)
        mine = rows[process::world]
        parts = parts_of(mine if len(mine) else rows[:1], self.windows.lengths, self.config.step_positions)
        losses = []
        for part in parts:
            # gradients are exchanged once, with the last part's
            with self.accelerator.no_sync(self.module) if part is not parts[-1] else nullcontext():
                # DDP averages gradients over processes: dividing by targets / world makes the average the sum
                loss = self._loss(part, targets / world, whole=len(parts) == 1)
                # a process without a row of its own still takes part in the exchange of gradients, with nothing
                loss = loss if len(mine) else loss * 0.0
                self.accelerator.backward(loss)
                losses.append(loss.detach())
            if len(parts) > 1 and self.accelerator.device.type == "cpu":
                returned()  # a step is in parts where memory is short
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).sum()

    def _loss(self, rows: Int64s, normaliser: float, *, whole: bool) -> Tensor:
        losses: dict[str, Tensor] = self.module(self.log.batch(rows), normaliser=normaliser)
        if not whole:
            check_sums(losses, self.model.name)
        return losses["loss"]

    def rehearse(self, rows: Int64s) -> None:
        """One step on these windows as in training, for what it costs. A learning rate of 0 spares the weights."""
        self.module.train()
        self._step(rows, int(self.windows.fresh[rows].sum()))

    def _look(self, loss_sum: Tensor, taught: int, speed: float, steps: int) -> None:
        loss = self._finite(loss_sum.item() / taught)
        if self.on_progress is None or not self.accelerator.is_main_process:
            return
        left = (self.windows.targets - taught) / speed
        self.on_progress(
            Progress(
                epoch=self.state.epoch + 1,
                epochs=self.config.epochs,
                step=self.state.step,
                steps=steps,
                loss=loss,
                targets_per_second=speed,
                best=self.state.best,
                seconds_left=left,
            )
        )

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} in epoch {self.state.epoch + 1}, step {self.state.step}; "
                "lower train.learning_rate or look for extreme feature values"
            )
        return loss

    def _close_epoch(self) -> None:
        state = self.state
        entry: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "loss": self._finite(state.loss_sum / self.windows.targets),
            "seconds": round(state.seconds, 3),
            "targets_per_second": round(self.windows.targets / max(state.seconds, 1e-9)),
        }
        if self.validate is not None:
            started = time.perf_counter()
            entry["validation"] = self._validated()
            entry["validation_seconds"] = round(time.perf_counter() - started, 3)
        state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        state.history.append(entry)
        value = entry["validation"][self.config.metric] if self.validate is not None else None
        if value is None or state.best is None or value > state.best:
            state.best, state.best_epoch = value, state.epoch
            if self.accelerator.is_main_process:
                checkpoint.save_weights(self.model, self.folder / BEST)
        if self.accelerator.is_main_process:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        self._save()
        if self.on_epoch is not None and self.accelerator.is_main_process:
            self.on_epoch(entry)

    def _validated(self) -> dict[str, float]:
        assert self.validate is not None
        self.module.eval()
        box: list[Any] = [self.validate() if self.accelerator.is_main_process else None]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(box)
        metrics: dict[str, float] = box[0]
        if self.config.metric not in metrics:
            raise InputError(f"train.metric = {self.config.metric!r} is not measured; choose one of {sorted(metrics)}")
        return metrics

    def _checkpoint_due(self) -> bool:
        return time.monotonic() - self._saved_at > 60 * self.config.checkpoint_minutes

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            checkpoint.save_checkpoint(self.folder, self.model, self.optimizer, asdict(self.state))
        self._saved_at = time.monotonic()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C lets the step end and saves; a second one interrupts at once."""

        def stop() -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        with on_ctrl_c(stop):
            yield
