"""Token states -> one vector per content.

Letters:  B contents   L tokens   D width
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medleyrec.schema import InputError

if TYPE_CHECKING:
    from torch import Tensor


def pool_tokens(states: Tensor, mask: Tensor, how: str) -> Tensor:
    """(B, L, D) states and a (B, L) mask that is 1 at tokens, padding on the right -> (B, D)."""
    if how == "cls":
        return states[:, 0]
    if how == "last":
        last = (mask.sum(1) - 1).clamp(min=0)
        return states[range(len(states)), last]
    weights = mask.float().unsqueeze(-1)  # (B, L, 1); in float32, where long sums keep their digits
    return (states.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def pool_picture(output: Any, how: str) -> Tensor:
    """What a vision model gives -> (B, D). States are (B, L, D) tokens or a (B, D, height, width) map.

    auto: what its pooler gives, where it has one, else the mean.
    """
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if how in ("auto", "pooler") and pooled is not None:
        return pooled.flatten(1)
    if how == "pooler":
        raise InputError("the model has no pooler; take pooling = mean or cls")
    states: Tensor = output.last_hidden_state
    if states.dim() == 4:
        return states.float().mean((2, 3))
    return states[:, 0] if how == "cls" else states.float().mean(1)
