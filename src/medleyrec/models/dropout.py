"""Dropout whose masks are cut from random bytes on the CPU.

`bernoulli_` draws one element at a time there and costs a quarter of a training step; random bytes come some 20 times
faster. The probability is then a multiple of 1/256, and kept values are scaled by the probability really used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WORD = 8  # bytes in one random integer
_LOWEST = -(2**63)


class Dropout(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout = {p} does not fit: give a share from 0 up to, not including, 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element with probability p, scale the rest so that the mean stays."""
    if p == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped = max(1, min(255, round(p * 256)))
    words = torch.empty(-(-x.numel() // _WORD), dtype=torch.int64).random_(_LOWEST, None)  # all 64 bits
    keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * keep.to(x.dtype).mul_(256 / (256 - dropped))
