"""One line of the table: a baseline, or the seeds of one model."""

from __future__ import annotations

from dataclasses import dataclass

from medleyrec.models.base import Ranker
from medleyrec.recipes.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """`runs` is empty for a baseline; rankers and runs are of the same seeds in the same order."""

    name: str
    rankers: tuple[Ranker, ...]
    max_length: int
    runs: tuple[Run, ...] = ()
