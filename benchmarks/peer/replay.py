"""RePlay: `replay.nn.sequential.SasRec` with the full cross entropy, read from Parquet as its documentation has it.

options: {"trim": true} adds its transform that cuts off the padding which a whole batch shares.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms
from replay.nn.transform.trim import TargetAwareAdaptiveTrimTransform

from benchmarks.peer.lightning import QUIET, clocked
from benchmarks.peer.task import Clock, Log, Task, left_padded, ranks

ITEM = "item_id"


def main() -> None:
    warnings.filterwarnings("ignore", message="The following dataset paths")
    task = Task.read()
    log = Log.read(task.log)
    items = log.num_items - 1  # rows 0..V-2; the last one is padding
    schema = schema_of(items, task.width)
    net = SasRec.from_params(
        schema,
        embedding_dim=task.width,
        num_heads=task.heads,
        num_blocks=task.depth,
        max_sequence_length=task.length,
        dropout=task.dropout,
        hidden_dim=task.inner,
    )
    lengths = np.diff(log.offsets)
    taught = int(np.minimum(lengths[lengths > 1], task.length).sum())
    clock = Clock(task, log, lambda: judged(net, log, task), taught=taught)
    rows = log.rows_per_step(task.targets_per_step)
    transforms = make_default_sasrec_transforms(schema)["train"]
    if task.options["trim"]:
        transforms.insert(2, TargetAwareAdaptiveTrimTransform([ITEM, "positive_labels"]))
    data = ParquetModule(
        batch_size=rows,
        metadata={"train": {ITEM: {"shape": task.length + 1, "padding": items}}},
        transforms={"train": transforms},
        config={"train": {"generator": torch.default_generator, "partition_size": rows * max(20, 2**20 // rows)}},
        train_path=str(written(log, Path(task.scratch) / "train.parquet")),
    )
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        limit_val_batches=0,
        callbacks=[clocked(lightning.Callback, clock, lambda b: int(b["target_padding_mask"].sum()))],
        **QUIET,
    )
    module = LightningModule(net, OptimizerFactory(learning_rate=task.learning_rate))
    trainer.fit(module, datamodule=data)
    trimmed = "the padding that a batch shares is cut off" if task.options["trim"] else "each padded to the full length"
    clock.answer(
        parameters=sum(p.numel() for p in net.parameters()),
        packages=("replay-rec", "lightning", "pyarrow"),
        notes=(
            f"{rows} users a step, {trimmed}",
            "a user's first event is a target too, told from padding, where the history is shorter than a row",
            "Adam's second beta is .98",
        ),
    )


def schema_of(items: int, width: int) -> TensorSchema:
    return TensorSchema(
        [
            TensorFeatureInfo(
                ITEM,
                is_seq=True,
                feature_type=FeatureType.CATEGORICAL,
                embedding_dim=width,
                padding_value=items,
                cardinality=items,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)],
            )
        ]
    )


def written(log: Log, path: Path) -> Path:
    """One row per user with a target."""
    rows = pa.ListArray.from_arrays(pa.array(log.offsets.astype(np.int32)), pa.array(log.items.astype(np.int64) - 1))
    pq.write_table(pa.table({ITEM: rows}).filter(pa.array(np.diff(log.offsets) > 1)), path)
    return path


def judged(net: Any, log: Log, task: Task) -> np.ndarray:
    """By its own `forward` in inference."""
    padding = log.num_items - 1
    net.eval()

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        block = left_padded([h - 1 for h in histories], task.length, padding=padding)
        out = net(feature_tensors={ITEM: block}, padding_mask=block != padding)
        return out["logits"]

    result = ranks(log, task.length, scores, np.arange(log.num_items) - 1)
    net.train()
    return result


if __name__ == "__main__":
    main()
