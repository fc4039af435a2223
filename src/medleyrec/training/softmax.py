"""Which softmax a run learns by: over all classes, or over some drawn for each step.

A function of settings and counts alone: a run is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medleyrec.schema import InputError
from medleyrec.training.config import TrainConfig
from medleyrec.training.optimizer import is_rowwise
from medleyrec.training.sampling import EXACT_CLASSES, NEGATIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax:
    """`negatives` classes of `classes` are drawn per step; 0: all of them count."""

    classes: int
    negatives: int = 0
    rowwise: bool = False
    """Whether ids learn row by row."""
    automatic: bool = False

    @property
    def sampled(self) -> bool:
        return self.negatives > 0

    def to_json(self) -> dict[str, Any]:
        """What decides a run's result beside its other settings; of an exact one nothing."""
        if not self.sampled:
            return {}
        optimizer = "rowwise" if self.rowwise else "adam"
        return {"softmax": "sampled", "negatives": self.negatives, "optimizer": optimizer}

    def __str__(self) -> str:
        if not self.sampled:
            return f"softmax over all {self.classes:,} classes"
        ids = "ids learn row by row" if self.rowwise else "ids learn by Adam"
        why = f', more than {EXACT_CLASSES:,} (train.softmax = "exact" takes all)' if self.automatic else ""
        return f"softmax over {self.negatives:,} classes drawn per step of {self.classes:,}{why}, {ids}"


def softmax_of(config: TrainConfig, classes: int, *, refused: str = "") -> Softmax:
    """Of a run with so many classes; refused: why its model cannot be taught with drawn classes.

    Raises InputError where the settings contradict each other.
    """
    wanted = config.softmax == "sampled" or (config.softmax == "auto" and classes > EXACT_CLASSES)
    if config.softmax == "sampled" and refused:
        raise InputError(f'train.softmax = "sampled" does not fit: {refused}; set train.softmax = "exact"')
    sampled = wanted and not refused
    if config.negatives and not sampled:
        raise InputError(
            f"train.negatives = {config.negatives} is for a sampled softmax, and this one is over all {classes:,} "
            'classes; set it to 0, or train.softmax = "sampled"'
        )
    if config.negatives > classes:
        raise InputError(
            f"train.negatives = {config.negatives:,} are more than the {classes:,} classes; draw fewer, or set "
            'train.softmax = "exact", which takes all'
        )
    rowwise = is_rowwise(config, sampled=sampled)
    negatives = config.negatives or min(NEGATIVES, classes)
    return Softmax(
        classes=classes, negatives=negatives if sampled else 0, rowwise=rowwise, automatic=config.softmax == "auto"
    )
