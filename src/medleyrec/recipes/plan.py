"""What a training will take, as it is told before it begins: parameters, memory at its highest, time per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medleyrec.training.sizes import told_bytes

LOGITS = "logits"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`memory` names the parts of `peak_bytes`; `validation_seconds` is None for a refit; `softmax` says which classes
    are drawn, where not all count."""

    label: str
    device: str
    threads: int
    parameters: int
    memory: Mapping[str, int]
    limit_bytes: int
    limit_source: str
    steps: int
    epoch_seconds: float
    validation_seconds: float | None
    epochs: int
    softmax: str = ""
    softmax_chunk: int
    step_positions: int
    parts: int
    notes: tuple[str, ...]

    @property
    def peak_bytes(self) -> int:
        return sum(self.memory.values())

    @property
    def seconds_per_epoch(self) -> float:
        return self.epoch_seconds + (self.validation_seconds or 0.0)

    def to_json(self) -> dict[str, Any]:
        seconds = self.seconds_per_epoch
        return asdict(self) | {
            "peak_bytes": self.peak_bytes,
            "seconds_per_epoch": seconds,
            "seconds_at_most": seconds * self.epochs,
        }

    def lines(self) -> list[str]:
        judged = "" if self.validation_seconds is None else f", validation {told_seconds(self.validation_seconds)}"
        step = "whole" if self.parts == 1 else f"in up to {self.parts} parts of {self.step_positions:,} positions"
        chunk = f"; softmax of {self.softmax_chunk:,} targets at a time" if LOGITS in self.memory else ""
        chunk = f"; {self.softmax}" if self.softmax else chunk
        rows = {
            "parameters": f"{self.parameters:,}",
            "peak memory": f"{told_bytes(self.peak_bytes)} of {told_bytes(self.limit_bytes)} ({self.limit_source})",
            **{f"  {name}": told_bytes(size) for name, size in self.memory.items()},
            "an epoch": f"{told_seconds(self.seconds_per_epoch)}: {self.steps:,} steps in "
            f"{told_seconds(self.epoch_seconds)}{judged}",
            f"{self.epochs:,} epochs": f"at most {told_seconds(self.seconds_per_epoch * self.epochs)}",
            "a step": f"{step}{chunk}",
        }
        width = max(map(len, rows))
        return [
            f"Plan of {self.label} on {self.device}, {self.threads} threads:",
            *(f"  {name:<{width}}  {told}" for name, told in rows.items()),
            *self.notes,
        ]


def told_seconds(seconds: float) -> str:
    """For a reader: "0.42 s", "5.9 s", "9 min 50 s", "2 h 5 min"."""
    if seconds < 59.95:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
