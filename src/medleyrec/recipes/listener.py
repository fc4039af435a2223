"""Who is told how the work goes. The default listens to nothing; the command line draws bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medleyrec.training.loop import Progress


class Listener:
    def say(self, sentence: str) -> None:
        """A fact worth knowing."""

    def step(self, name: str, done: int, total: int) -> None:
        """`done` of `total` of the step `name`."""

    def training(self, label: str, progress: Progress) -> None:
        """A running epoch."""

    def epoch(self, label: str, entry: dict[str, Any], *, best: bool) -> None:
        """A finished epoch; `best` says that its validation metric is the best so far."""
