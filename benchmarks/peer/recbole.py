"""RecBole: SASRec with cross entropy. It teaches one target per row: each prefix is a padded row of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer

from benchmarks.peer.task import Clock, Log, Task, ranks


class Counted:
    """RecBole's loader, with each batch counted and the epoch left at its limit."""

    def __init__(self, loader: Any, clock: Clock) -> None:
        self.loader, self.clock = loader, clock

    def __iter__(self) -> Iterator[Interaction]:
        return self.clock.limited(self.loader, len)

    def __len__(self) -> int:
        return len(self.loader)


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    task = Task.read()
    log = Log.read(task.log)
    found: list[Any] = []
    clock = Clock(task, log, lambda: judged(found[0], found[1], log, task))
    config = settings(task, written(log, Path(task.scratch)))
    data = create_dataset(config)
    loader = data_preparation(config, data)[0]
    torch.manual_seed(task.seed)
    model = get_model("SASRec")(config, loader.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    found += [model, data]
    for epoch in range(task.epochs):
        clock.start()
        trainer._train_epoch(Counted(loader, clock), epoch)
        clock.stop()
        if clock.over:
            break
    clock.answer(
        parameters=sum(p.numel() for p in model.parameters()),
        packages=("recbole", "pandas"),
        notes=(f"one target per row: {task.targets_per_step} prefixes a step, each padded to {task.length} positions",),
    )


def written(log: Log, folder: Path) -> Path:
    """All training events and, last of each user, the validation target, which its split holds out."""
    users = np.concatenate([log.users, np.arange(len(log))])
    items = np.concatenate([log.items, log.targets])
    times = np.concatenate([np.arange(len(log.items)), np.full(len(log), len(log.items))])
    place = folder / "log"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        np.savetxt(file, np.stack([users, items, times], 1), fmt="%d", delimiter="\t")
    return folder


def settings(task: Task, folder: Path) -> Config:
    return Config(
        model="SASRec",
        dataset="log",
        config_dict={
            "data_path": str(folder),
            "checkpoint_dir": str(folder / "saved"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": task.length,
            "eval_args": {"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"},
            "train_neg_sample_args": None,
            "loss_type": "CE",
            "hidden_size": task.width,
            "inner_size": task.inner,
            "n_layers": task.depth,
            "n_heads": task.heads,
            "hidden_dropout_prob": task.dropout,
            "attn_dropout_prob": task.dropout,
            "learner": "adam",
            "learning_rate": task.learning_rate,
            "train_batch_size": task.targets_per_step,
            "epochs": task.epochs,
            "seed": task.seed,
            "reproducibility": False,
            "use_gpu": False,
            "worker": 0,
            "show_progress": False,
            "state": "ERROR",
        },
    )


def judged(model: Any, data: Any, log: Log, task: Task) -> np.ndarray:
    """By its own `full_sort_predict`."""
    row = np.zeros(log.num_items, np.int64)
    names = np.asarray(data.field2id_token["item_id"][1:], np.int64)
    row[names] = np.arange(len(names)) + 1
    model.eval()

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        block = torch.zeros(len(histories), task.length, dtype=torch.int64)
        for line, history in zip(block, histories, strict=True):
            line[: len(history)] = torch.from_numpy(row[history])
        lengths = torch.tensor([len(h) for h in histories])
        asked = Interaction({model.ITEM_SEQ: block, model.ITEM_SEQ_LEN: lengths})
        return model.full_sort_predict(asked).view(len(histories), -1)[:, 1:]

    result = ranks(log, task.length, scores, row - 1)
    model.train()
    return result


if __name__ == "__main__":
    main()
