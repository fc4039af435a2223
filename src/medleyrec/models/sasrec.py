"""SASRec: next-item prediction by causal self-attention (Kang & McAuley, ICDM 2018).

Rows are left-aligned, so a prefix has the same states alone as inside its row and one pass teaches every prefix.
What an item *is* (an id, a text, a picture) is the business of `rows`; what makes states of items, of `backbone`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from medleyrec.config import Config
from medleyrec.models.plain import AttentionSettings, PlainModel
from medleyrec.schema import Batch, Facts, Features

FORMERLY_OUTSIDE = ("positions.", "blocks.", "norm.")  # in weights saved before there were backbones


class SASRecSettings(AttentionSettings):
    LATER: ClassVar[frozenset[str]] = frozenset({"scaled_inputs"})

    scaled_inputs: bool = Field(
        default=False,
        description="multiply item vectors by the root of the width on their way in, as its first code does: "
        "an epoch teaches more",
    )


class SASRec(PlainModel):
    Settings: ClassVar[type[Config]] = SASRecSettings
    name = "sasrec"

    def __init__(self, settings: SASRecSettings, facts: Facts, features: Features | None = None, **more: Any) -> None:
        super().__init__(settings, facts, features, **more)
        self.scale = settings.width**0.5 if settings.scaled_inputs else 1.0

    def inputs(self, batch: Batch, table: Tensor) -> Tensor:
        x = super().inputs(batch, table)
        return x * self.scale if self.scale != 1 else x

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes weights of older runs too."""
        moved = {f"backbone.{n}" if n.startswith(FORMERLY_OUTSIDE) else n: t for n, t in state_dict.items()}
        return super().load_state_dict(moved, strict, assign)
