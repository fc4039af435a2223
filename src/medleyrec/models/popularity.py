"""Popularity: every user gets the items most taken, over all time or with old events fading.

Letters:  B rows   C candidates   V items
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from medleyrec.config import Config
from medleyrec.schema import Batch, Int32s, Int64s

DAY = 86_400  # seconds


class PopularitySettings(Config):
    half_life: float | None = Field(
        default=None, gt=0, description="days after which an event counts half; without it all count alike"
    )


class Popularity:
    Settings: ClassVar[type[Config]] = PopularitySettings

    def __init__(self, settings: PopularitySettings) -> None:
        self.settings = settings
        self.name = "popularity" if settings.half_life is None else "recent-popularity"
        self.weights = torch.zeros(0)

    def fit(self, items: Int32s, times: Int64s, users: Int64s, *, num_items: int) -> Popularity:
        """Count training events (E,) of item rows at `times` (seconds); who took them does not matter."""
        weights = None
        if self.settings.half_life is not None and len(times):
            age = (int(times.max()) - times) / DAY
            weights = np.exp2(-age / self.settings.half_life)
        counts = np.bincount(items, weights=weights, minlength=num_items)
        self.weights = torch.from_numpy(counts.astype(np.float32))
        return self

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        weights = self.weights.to(candidates.device)[candidates]
        return weights.expand(len(batch), -1)  # (B, C)
