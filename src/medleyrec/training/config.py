"""How a model is trained: everything that is not the model itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medleyrec.config import Config


class TrainConfig(Config):
    seed: int = Field(default=0, ge=0, lt=2**31)
    epochs: int = Field(default=100, gt=0, description="at most so many")
    patience: int = Field(default=10, gt=0, description="stop after so many epochs without a better validation metric")
    metric: str = Field(default="ndcg@10", description="what validation is judged by; larger is better")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    targets_per_step: int = Field(default=1024, gt=0, description="targets of one optimiser step; 256 learns faster")
    mode: Literal["one-pass", "prefix"] = Field(
        default="one-pass", description="one-pass: a row teaches all its prefixes; prefix: one row per target"
    )
    stride: int = Field(default=0, ge=0, description="events between windows of a long history; 0 is half a window")
    softmax_chunk: int = Field(default=0, ge=0, description="targets per chunk of the softmax; 0 finds the fastest")
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    device: str = Field(default="auto", description="auto, cpu, cuda, mps")
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
