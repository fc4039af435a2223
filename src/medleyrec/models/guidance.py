"""How much the experts' answer counts in each part of an item, told by the item's categories (CAMMSR, Eqs. 8-10).

Letters:  M parts of an item   B rows   L positions   H width of a part   C categories   V items   P labels of an item

    z_m = W_m e_m + b_m,   y'_m = sigmoid(z_m)                          a head per part guesses the categories
    d_m = -sum_c (y_c log y'_m[c] + (1 - y_c) log(1 - y'_m[c]))         how far it is off, of the item's true ones
    w   = softmax over the parts of (sign * d)

An item without a label weighs 1 / M in every part. The heads learn through w alone unless `terms` is a loss too.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.categories import Categories
from medleyrec.models.initial import xavier
from medleyrec.schema import PAD

Reduction = Literal["sum", "mean"]
Labels = Literal["multi_hot", "max"]


class CategoryGuidance(nn.Module):
    """sign: +1 gives more weight to the part that guesses worse, -1 to the one that guesses better.
    reduction: d is the sum over the classes, or their mean. labels: "max" takes for d the largest -log y'_m[l] among
    the item's labels l alone; there is nothing to reduce then.
    """

    labels: Tensor
    real: Tensor

    def __init__(
        self, parts: int, width: int, categories: Categories, *, sign: int, reduction: Reduction, labels: Labels
    ) -> None:
        super().__init__()
        self.sign, self.reduction, self.kind = sign, reduction, labels
        self.weight = nn.Parameter(xavier(torch.empty(parts, categories.count, width)))
        self.bias = nn.Parameter(torch.zeros(parts, categories.count))
        numbers, real = categories.padded()
        self.register_buffer("labels", numbers, persistent=False)  # (V, P)
        self.register_buffer("real", real, persistent=False)  # (V, P)

    def forward(self, e: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """e (M, B, L, H), items (B, L) -> weights (M, B, L), terms (M, B, L): d of the multi-hot labels, the mean."""
        labels, real = self.of(items)
        logits = torch.baddbmm(self.bias[:, None], e.flatten(1, 2), self.weight.mT)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a sum over C does not survive 8 bits
        labels, real = labels.flatten(0, 1), real.flatten(0, 1)  # (N, P), N = B L
        chosen = logits.gather(-1, labels.expand(len(logits), -1, -1))  # (M, N, P)
        off = -F.logsigmoid(-logits).sum(-1) - (chosen * real).sum(-1)  # (M, N)
        terms = off / logits.shape[-1]
        if self.kind == "max":
            off = (-F.logsigmoid(chosen)).masked_fill(~real, 0.0).amax(-1)
        elif self.reduction == "mean":
            off = terms
        weights = torch.where(real.any(-1), (self.sign * off).softmax(0), 1 / len(off))
        return weights.view(e.shape[:3]).to(e.dtype), terms.view(e.shape[:3])

    def of(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Label numbers and which of them are real, (B, L, P); rows past the table are new items without a label."""
        known = torch.where(items < len(self.labels), items, PAD)
        return F.embedding(known, self.labels), F.embedding(known, self.real)
