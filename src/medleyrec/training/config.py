"""How a model is trained: everything that is not the model itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from medleyrec.config import Config
from medleyrec.training.sizes import AUTO, parse_bytes

MANY = 2**31  # what the array libraries count with


class TrainConfig(Config):
    seed: int = Field(default=0, ge=0, lt=MANY)
    epochs: int = Field(default=100, gt=0, lt=MANY, description="at most so many")
    patience: int = Field(
        default=10, gt=0, lt=MANY, description="stop after so many epochs without a better validation metric"
    )
    metric: str = Field(default="ndcg@10", description="what validation is judged by; larger is better")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    targets_per_step: int = Field(
        default=1024, gt=0, lt=MANY, description="targets of one optimiser step; 256 learns faster"
    )
    mode: Literal["one-pass", "prefix"] = Field(
        default="one-pass", description="one-pass: a row teaches all its prefixes; prefix: one row per target"
    )
    stride: int = Field(
        default=0, ge=0, lt=MANY, description="events between windows of a long history; 0 is half a window"
    )
    softmax_chunk: int = Field(
        default=0, ge=0, lt=MANY, description="targets per chunk of the softmax; 0 finds the fastest"
    )
    softmax: Literal["auto", "exact", "sampled"] = Field(
        default="auto", description="over all classes, or over some drawn for each step; auto: sampled above 2 million"
    )
    negatives: int = Field(default=0, ge=0, description="classes drawn per step of a sampled softmax; 0 is automatic")
    optimizer: Literal["auto", "adam", "rowwise"] = Field(
        default="auto",
        description="rowwise: ids learn lazily, with one number of state per item (sampled softmax only); auto: "
        "rowwise where the softmax is sampled",
    )
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    device: str = Field(default="auto", description="auto, cpu, cuda, mps")
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    memory_limit: str = Field(
        default=AUTO,
        description="what training may take at most, such as 4GB or 512MiB; auto: what the GPU, the container or the "
        "machine has available. Steps are taken in parts, and the softmax in smaller chunks, where that is needed",
    )
    step_positions: int = Field(
        default=0,
        ge=0,
        lt=MANY,
        description="events, padding included, that pass the model at a time; 0: all of a step, if they fit",
    )
    plan: bool = Field(default=True, description="predict memory and time by a few steps before a run")

    @field_validator("memory_limit")
    @classmethod
    def _is_a_size(cls, limit: str) -> str:
        if limit != AUTO:
            parse_bytes(limit)
        return limit
