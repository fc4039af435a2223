"""The optimiser of a run: Adam, and for the ids of sampled steps a row-wise one that touches the step's rows alone.

Letters:  V items   D width of an id   n rows that a step touches

Adam keeps two numbers beside each weight and looks at all of them in every step; at ten million items that is most of
the memory and all of the time. `RowwiseAdam` keeps one second moment per ROW and the step when it was last looked at:
    v_r <- beta2^(s - s_r) v_r + (1 - beta2) mean_d g_rd^2,   s_r <- s
    w_r <- w_r - lr g_r / (sqrt(v_r / (1 - beta2^s)) + eps)
A row without a gradient does not move, so its v only decays: doing that when the row comes next makes the lazy update
the SAME as that of an optimiser that looks at every row in every step. There is no first moment; it would be as large
as the table. All other parameters learn by Adam as they always did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from medleyrec.schema import InputError
from medleyrec.training.config import TrainConfig
from medleyrec.training.module import TrainingModule


class RowwiseAdam(torch.optim.Adam):
    """Fused Adam for `dense` parameters, the row-wise update for `tables` (V, D), whose gradients are sparse.

    State of a table: "second" (V,) and "last" (V,), whole numbers up to 2^24 in float32, and "step".
    """

    def __init__(self, dense: Iterable[Tensor], tables: Iterable[Tensor], *, lr: float) -> None:
        self.tables = list(tables)
        super().__init__([{"params": list(dense)}, {"params": self.tables}], lr=lr, fused=True)
        self._step_supports_amp_scaling = False  # a scaled loss is unscaled, and a step skipped, before ours begins

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[-1]
        for table in self.tables:
            if table.grad is not None:
                self._update(table, group["lr"], group["betas"][1], group["eps"])
                table.grad = None  # Adam passes over what has no gradient
        return super().step(closure)

    def _update(self, table: Tensor, lr: float, beta: float, eps: float) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), device="cpu")
            state["second"], state["last"] = table.new_zeros(len(table)), table.new_zeros(len(table))
        state["step"] += 1
        now = int(state["step"])
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, values = gradient.indices()[0], gradient.values()  # (n,), (n, D)
        decay = torch.pow(beta, now - state["last"][rows])
        second = decay * state["second"][rows] + (1 - beta) * values.square().mean(1)  # (n,)
        state["second"][rows], state["last"][rows] = second, torch.full_like(second, now)
        root = (second / (1 - beta**now)).sqrt() + eps
        table.index_add_(0, rows, values / root[:, None], alpha=-lr)


def is_rowwise(config: TrainConfig, *, sampled: bool) -> bool:
    """Whether ids learn row by row; raises InputError where they cannot and were told to."""
    if config.optimizer == "auto":
        return sampled and not config.weight_decay
    if config.optimizer == "rowwise" and not sampled:
        raise InputError(
            'train.optimizer = "rowwise" is for the rows that a sampled softmax touches, and this softmax is over all '
            'of them; set train.softmax = "sampled", or train.optimizer = "auto"'
        )
    if config.optimizer == "rowwise" and config.weight_decay:
        raise InputError(
            f"train.weight_decay = {config.weight_decay} shrinks every row in every step, which train.optimizer = "
            '"rowwise" avoids; set it to 0, or train.optimizer = "adam"'
        )
    return config.optimizer == "rowwise"


def optimizer_of(module: TrainingModule, config: TrainConfig, *, processes: int = 1) -> torch.optim.Optimizer:
    """Adam, or with it the row-wise update of the model's ids, which then have sparse gradients."""
    ids = module.model.rows.ids
    if ids is None or not is_rowwise(config, sampled=module.sampler is not None):
        return torch.optim.Adam(
            module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    if processes > 1:
        raise InputError(
            f'train.optimizer = "rowwise" works in one process, and there are {processes}; set train.optimizer = "adam"'
        )
    ids.sparse = True
    dense = [p for p in module.parameters() if p is not ids.weight]
    return RowwiseAdam(dense, [ids.weight], lr=config.learning_rate)
