"""Medley itself: the model, windows and trainer that `medley train` uses, with that command's default choices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.peer.task import Clock, Log, Task, ranks
from medleyrec.dataset.batches import DeviceLog, one_pass_windows
from medleyrec.dataset.split import TrainingLog
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.schema import Batch, Facts
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import Trainer
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk


class Timed(Trainer):
    """An epoch is timed as it is by every contestant: the order of its steps and the steps, without its checkpoint."""

    clock: Clock

    def _epoch(self) -> bool:
        self.clock.start()
        whole = super()._epoch()
        self.clock.stop()
        return whole

    def _step(self, rows: np.ndarray, targets: int) -> torch.Tensor:
        loss = super()._step(rows, targets)
        self.clock.step(targets)
        self._stop = self.clock.over
        return loss


def main() -> None:
    task = Task.read()
    log = Log.read(task.log)
    assert task.inner == 4 * task.width, "Medley's feed-forward layers are four times as wide as its states"
    model = build(
        "sasrec",
        Facts(num_items=log.num_items),
        width=task.width,
        depth=task.depth,
        heads=task.heads,
        max_length=task.length,
        dropout=task.dropout,
        scaled_inputs=True,  # as RePlay does
    )

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        return Frozen(model).scores(_batch(histories), torch.arange(1, log.num_items))

    def judge() -> np.ndarray:
        model.eval()
        found = ranks(log, task.length, scores, np.arange(log.num_items) - 1)
        model.train()
        return found

    clock = Clock(task, log, judge)
    items, offsets = log.items, log.offsets
    training = TrainingLog(items, np.arange(len(items)), offsets[:-1], offsets[1:], log.num_items)
    windows = one_pass_windows(training, max_length=task.length, stride=max(1, task.length // 2))
    chunk = calibrate_chunk(
        targets=min(task.targets_per_step, windows.targets), width=task.width, classes=log.num_items - 1, device="cpu"
    )
    trainer = Timed(
        TrainingModule(model, classes=log.num_items, chunk=chunk),
        DeviceLog(training, windows),
        windows,
        TrainConfig(
            epochs=task.epochs,
            seed=task.seed,
            learning_rate=task.learning_rate,
            targets_per_step=task.targets_per_step,
            device="cpu",
        ),
        Path(task.scratch) / "run",
        accelerator=Accelerator(cpu=True),
    )
    trainer.clock = clock
    trainer.run()
    clock.answer(
        parameters=sum(p.numel() for p in model.parameters()),
        packages=("medleyrec", "accelerate"),
        notes=(f"softmax {chunk} targets at a time",),
    )


def _batch(histories: list[np.ndarray]) -> Batch:
    lengths = torch.tensor([len(h) for h in histories])
    items = torch.zeros(len(histories), int(lengths.max()), dtype=torch.int64)
    for row, history in zip(items, histories, strict=True):
        row[: len(history)] = torch.from_numpy(history)
    none = torch.zeros_like(items)
    return Batch(items, none, lengths, none, torch.arange(len(items)))


if __name__ == "__main__":
    main()
