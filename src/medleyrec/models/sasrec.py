"""SASRec: next-item prediction by causal self-attention (Kang & McAuley, ICDM 2018).

Rows are left-aligned, so a prefix has the same states alone as inside its row and one pass teaches every prefix.
What an item *is* (an id, a text, a picture) is the business of `rows`; what makes states of items, of `backbone`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from medleyrec.config import Config
from medleyrec.models.plain import AttentionSettings, PlainModel

FORMERLY_OUTSIDE = ("positions.", "blocks.", "norm.")  # in weights saved before there were backbones


class SASRecSettings(AttentionSettings):
    pass


class SASRec(PlainModel):
    Settings: ClassVar[type[Config]] = SASRecSettings
    name = "sasrec"

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes weights of older runs too."""
        moved = {f"backbone.{n}" if n.startswith(FORMERLY_OUTSIDE) else n: t for n, t in state_dict.items()}
        return super().load_state_dict(moved, strict, assign)
