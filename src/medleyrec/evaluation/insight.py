"""What a trained model does, as tables that are drawn: the border between those who look into a model and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Plot = Literal["shares", "heat", "signed", "whiskers"]
"""shares: rows sum to 1, drawn as stacked bars. heat: a matrix from -1 to 1. signed: bars from 0 to either side.
whiskers: values with intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Named rows of numbers under named columns. `count` says how many events stand behind each row."""

    title: str
    note: str
    plot: Plot
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    count: dict[str, int] = field(default_factory=dict)
    bounds: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """Of whiskers: the interval of each number."""

    def __str__(self) -> str:
        wide = max((len(name) for name in self.rows), default=0) + 2
        cells = max(12, *(len(name) + 2 for name in self.columns))
        head = " " * wide + "".join(f"{name:>{cells}}" for name in self.columns)
        lines = [f"{n:<{wide}}" + "".join(f"{v:>{cells}.4f}" for v in row) for n, row in self.rows.items()]
        return "\n".join([self.title, head, *lines])

    def scale(self) -> tuple[float, float]:
        """Where the axis of a bar or a whisker begins and ends: at 0 or beyond on either side."""
        values = [v for row in self.rows.values() for v in row]
        values += [v for row in self.bounds.values() for pair in row for v in pair]
        low, high = min([0.0, *values]), max([0.0, *values])
        return (low, high) if high > low else (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """Tables of one run, and the few figures that sum it up."""

    run: str
    model: str
    figures: Mapping[str, float]
    """Sentence of what was measured -> number."""
    tables: tuple[Table, ...]

    def __str__(self) -> str:
        told = [f"{sentence}: {number:.3f}" for sentence, number in self.figures.items()]
        return "\n\n".join(["\n".join(told), *map(str, self.tables)]).strip()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
