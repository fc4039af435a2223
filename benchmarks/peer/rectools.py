"""RecTools: SASRecModel with its softmax loss.

options: {"layers": "sasrec"}, as it is shipped (feed-forward layers as wide as the states), or {"layers": "preln"},
its pre-norm layers with feed-forward layers four times as wide, which are those of Medley.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.net_blocks import PreLNTransformerLayers
from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

from benchmarks.peer.lightning import QUIET, clocked
from benchmarks.peer.task import Clock, Log, Task, left_padded, ranks

LAYERS = {"sasrec": (SASRecTransformerLayers, 1), "preln": (PreLNTransformerLayers, 4)}


def main() -> None:
    task = Task.read()
    log = Log.read(task.log)
    layers, times = LAYERS[task.options["layers"]]
    assert task.inner == times * task.width, f"{layers.__name__} has feed-forward layers of {times} x width"
    found: list[SASRecModel] = []
    clock = Clock(task, log, lambda: judged(found[0], log, task))
    rows = log.rows_per_step(task.targets_per_step)
    model = SASRecModel(
        n_blocks=task.depth,
        n_heads=task.heads,
        n_factors=task.width,
        dropout_rate=task.dropout,
        session_max_len=task.length,
        loss="softmax",
        lr=task.learning_rate,
        batch_size=rows,
        transformer_layers_type=layers,
        recommend_torch_device="cpu",
        get_trainer_func=lambda: Trainer(
            max_epochs=task.epochs,
            callbacks=[clocked(Callback, clock, lambda batch: int(torch.count_nonzero(batch["y"])))],
            **QUIET,
        ),
    )
    found.append(model)
    model.fit(dataset(log))
    clock.answer(
        parameters=sum(p.numel() for p in model.torch_model.parameters()),
        packages=("rectools", "pytorch-lightning", "pandas"),
        notes=(
            f"{rows} users a step, each padded to {task.length} positions",
            "items without a training event have no row",
            "Adam's second beta is .98",
            f"layers: {layers.__name__}",
        ),
    )


def dataset(log: Log) -> Dataset:
    frame = pd.DataFrame(
        {
            Columns.User: log.users,
            Columns.Item: log.items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(np.arange(len(log.items)), unit="s"),
        }
    )
    return Dataset.construct(frame)


def judged(model: SASRecModel, log: Log, task: Task) -> np.ndarray:
    """By the states of `encode_sessions` and the item vectors, as its own `recommend` scores."""
    net: Any = model.torch_model
    known = model.data_preparator.get_known_item_ids().astype(np.int64)  # items in the order of their rows
    extra = model.data_preparator.n_item_extra_tokens
    row = np.full(log.num_items, -1)
    row[known] = np.arange(len(known)) + extra
    net.eval()
    with torch.no_grad():
        table = net.item_model.get_all_embeddings()

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        block = left_padded([row[h] for h in histories], task.length)
        states = net.encode_sessions({"x": block}, table)[:, -1]
        return states @ table[extra:].T

    result = ranks(log, task.length, scores, np.where(row < 0, -1, row - extra))
    net.train()
    return result


if __name__ == "__main__":
    main()
