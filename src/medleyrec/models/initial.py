"""How fresh weights are drawn.

A weight may be a stack of matrices: its last two axes are (outputs, inputs) of each.
"""

from __future__ import annotations

from torch import Tensor, nn


def xavier(weight: Tensor, *, outputs: int = 0) -> Tensor:
    """Normal, variance 2 / (inputs + outputs) of one matrix (Glorot & Bengio, AISTATS 2010); returns `weight`.

    outputs: of one matrix, where several share an axis of `weight`; 0 reads it off the shape.
    """
    fan = weight.shape[-1] + (outputs or weight.shape[-2])
    return nn.init.normal_(weight, std=(2 / fan) ** 0.5)
