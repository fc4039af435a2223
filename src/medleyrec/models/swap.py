"""The modality swap of CAMMSR (Eqs. 16-18): two parts of the same events change places at some positions.

Letters:  M parts of an item   P pairs of parts   B rows   L positions   H width of a part
For a pair (m1, m2) both sequences change at the same positions; what is then m1's sequence runs through m1's encoder
and m2's through m2's, and the two states of an event should know each other among those of other events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Pair = Literal["text-image", "id-text", "id-image"]
PAIRS: tuple[Pair, ...] = ("text-image", "id-text", "id-image")


def present(pairs: Sequence[str], parts: Sequence[str]) -> list[tuple[int, int]]:
    """Places in `parts` of the two parts of each pair, as far as both are there."""
    split = [pair.split("-") for pair in pairs]
    return [(parts.index(a), parts.index(b)) for a, b in split if a in parts and b in parts]


def swapped(x: Tensor, first: Tensor, second: Tensor, where: Tensor) -> Tensor:
    """x (M, B, L, H); parts first, second (P,); where bool (P, B, L) -> (2 P, B, L, H), all m1 and then all m2."""
    one, other, change = x.index_select(0, first), x.index_select(0, second), where[..., None]
    return torch.cat([torch.where(change, other, one), torch.where(change, one, other)])
