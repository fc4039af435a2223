"""How work shows on a terminal: one bar at a time, sentences above it; plain lines where there is no terminal."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from medleyrec.recipes.listener import Listener

if TYPE_CHECKING:
    from medleyrec.training.loop import Progress as Epoch


class ConsoleListener(Listener):
    def __init__(self) -> None:
        self.console = Console(soft_wrap=True, highlight=False, emoji=False)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: Any = None
        self.name = ""

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False)

    def step(self, name: str, done: int, total: int) -> None:
        self._show(name, done, total, "")

    def training(self, label: str, progress: Epoch) -> None:
        best = "" if progress.best is None else f"  best {progress.best:.4f}"
        told = f"loss {progress.loss:.4f}{best}  {progress.targets_per_second:,.0f} targets/s"
        self._show(f"{label} epoch {progress.epoch}", progress.step, progress.steps, told)

    def epoch(self, label: str, entry: dict[str, Any], *, best: bool) -> None:
        judged = entry.get("validation", {})
        shown = "  ".join(f"{name} {judged[name]:.4f}" for name in ("hit_rate@10", "ndcg@10") if name in judged)
        self.say(
            f"{label}  epoch {entry['epoch']:3d}  loss {entry['loss']:.4f}  {shown}  {entry['seconds']:.1f} s  "
            f"{entry['targets_per_second']:,} targets/s{'  *' if best else ''}"
        )

    def _show(self, name: str, done: int, total: int, told: str) -> None:
        if name != self.name:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.task, self.name = self.bars.add_task(name, total=total, told=told), name
        self.bars.update(self.task, completed=done, total=total, told=told)
        if done >= total and self.task is not None:
            self.bars.remove_task(self.task)
            self.task, self.name = None, ""
