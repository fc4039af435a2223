"""When an event happened, as a vector: tau = [interval; absolute] (HM4SR, explicit temporal embedding).

Letters:  B rows   L positions   H width   R rows of the interval table   t seconds since the epoch

    q_0 = 0,  q_i = floor(scale * log2(t_i - t_{i-1} + 1))        the interval, a row of a learnt table
    a_j = cos((w_j t + b_j) * f_j),  f_j = 1 / 10000^(j / H)      the absolute time, w and b learnt

t is counted in days from the start of the training log, in float64; so the phase can be learnt and is the same on every
machine. The published code takes raw seconds (some 1e9) in the precision of the model: in float32 the phase is rounding
noise. `raw_seconds` does the same.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.schema import Batch

DAY = 86_400  # seconds
LOWEST_FREQUENCY = 10_000.0


class TimeEmbedding(nn.Module):
    """`max_gap` (seconds) sets the height R of the interval table; larger gaps share its last row."""

    frequency: Tensor

    def __init__(
        self, width: int, *, start_time: int, max_gap: int, interval_scale: float, raw_seconds: bool = False
    ) -> None:
        super().__init__()
        self.start_time, self.interval_scale, self.raw_seconds = start_time, interval_scale, raw_seconds
        self.intervals = nn.Embedding(math.floor(interval_scale * math.log2(max_gap + 1)) + 1, width)
        self.absolute = nn.Linear(1, width)
        nn.init.normal_(self.intervals.weight, std=0.02)
        nn.init.normal_(self.absolute.weight, std=0.02)
        nn.init.zeros_(self.absolute.bias)
        # the reciprocal is taken in float32, as published: at 1e9 radians its last bit decides
        period = torch.pow(LOWEST_FREQUENCY, torch.arange(width, dtype=torch.float32) / width)
        self.register_buffer("frequency", 1 / period, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        absolute = self.phase(batch.times).cos().to(self.absolute.weight.dtype)
        return torch.cat([self.intervals(self.interval(batch)), absolute], -1)  # (B, L, 2H)

    def interval(self, batch: Batch) -> Tensor:
        """Rows (B, L) of the interval table; 0 at the first event of a row and at padding, whose time is 0."""
        clock = batch.times.to(self._clock)
        gaps = F.pad(clock.diff(dim=1), (1, 0)).clamp(min=0)  # (B, L)
        index = torch.floor(self.interval_scale * torch.log2(gaps + 1)).long()
        return index.clamp(max=self.intervals.num_embeddings - 1)

    def phase(self, times: Tensor) -> Tensor:
        """Arguments (B, L, H) of the cosine, radians."""
        slope, bias = self.absolute.weight[:, 0], self.absolute.bias
        if self.raw_seconds:
            return (times.to(slope.dtype)[..., None] * slope + bias) * self.frequency
        days = (times - self.start_time).to(self._clock) / DAY
        return (days[..., None] * slope.to(days.dtype) + bias.to(days.dtype)) * self.frequency

    @property
    def _clock(self) -> torch.dtype:
        """float64, but where the device has none and where the published rounding is asked for."""
        weight = self.absolute.weight
        return weight.dtype if self.raw_seconds or weight.device.type == "mps" else torch.float64
