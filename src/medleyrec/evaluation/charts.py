"""Where the marks of a report's charts go; the templates draw them, the style sheet colours them.

Nothing here knows of colours or fonts, so a chart follows the reader's light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medleyrec.evaluation.report import Curve, Report
from medleyrec.evaluation.words import metric_label

WIDTH, HEIGHT = 420, 240  # units of the drawing, about pixels on a phone
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A dot and its interval on a line, in percent of the line's length."""

    name: str
    kind: str
    low: float
    dot: float
    high: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiskerPlot:
    title: str
    rows: tuple[Whisker, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    series: int
    """Number of the model, from 0: its colour and its dashes."""
    path: str
    last: tuple[float, float]
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    title: str
    summary: str
    """What a reader hears who cannot see the lines."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def whisker_plot(report: Report) -> WhiskerPlot:
    """The headline metric of every model, from 0, so that lengths may be compared."""
    estimates = [row.metrics[report.headline] for row in report.models]
    ticks = nice_ticks(0.0, max(e.high for e in estimates) or 1.0, 5)
    top = ticks[-1]
    rows = tuple(
        Whisker(
            name=row.name,
            kind=row.kind,
            low=_round(100 * e.low / top),
            dot=_round(100 * e.value / top),
            high=_round(100 * e.high / top),
            label=str(e),
        )
        for row, e in zip(report.models, estimates, strict=True)
    )
    marks = tuple(Tick(at=_round(100 * t / top), label=f"{t:g}") for t in ticks)
    return WhiskerPlot(title=metric_label(report.headline), rows=rows, ticks=marks)


def line_charts(report: Report) -> tuple[LineChart, ...]:
    """Training loss, and each validation metric, against the epoch; one line per model. Charts without points go."""
    names = series(report)
    charts = [_chart("Training loss", names, [(c, [(p.epoch, p.loss) for p in c.points]) for c in report.curves])]
    for metric in dict.fromkeys(c.metric for c in report.curves):
        checked = [
            (c, [(p.epoch, p.validation) for p in c.points if p.validation is not None])
            for c in report.curves
            if c.metric == metric
        ]
        charts.append(_chart(f"Validation {metric_label(metric)}", names, checked))
    return tuple(chart for chart in charts if chart is not None)


def series(report: Report) -> tuple[str, ...]:
    """Names of the models that have a curve; the place is the series number."""
    return tuple(dict.fromkeys(c.model for c in report.curves))


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, the first at or below `low`, the last at or above `high`."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if span / (s * power) <= count)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(start, max(end, start + 1) + 1)]


def _chart(
    title: str, names: tuple[str, ...], found: Sequence[tuple[Curve, list[tuple[int, float]]]]
) -> LineChart | None:
    points = [p for _, pairs in found for p in pairs]
    if not points:
        return None
    epochs = [x for x, _ in points]
    xs = [t for t in nice_ticks(min(epochs), max(epochs), 6) if t == int(t)]
    ys = nice_ticks(min(y for _, y in points), max(y for _, y in points), 4)
    frame = _Frame(min(xs[0], min(epochs)), max(xs[-1], max(epochs)), ys[0], ys[-1])
    lines = tuple(_line(c.model, names.index(c.model), pairs, frame) for c, pairs in found if pairs)
    return LineChart(
        title=title,
        summary="; ".join(
            f"{c.model}: {p[0][1]:.4g} at epoch {p[0][0]}, {p[-1][1]:.4g} at epoch {p[-1][0]}" for c, p in found if p
        ),
        x_ticks=tuple(Tick(at=frame.x(t), label=f"{t:g}") for t in xs),
        y_ticks=tuple(Tick(at=frame.y(t), label=f"{t:g}") for t in ys),
        lines=lines,
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to units of the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return _round(LEFT + (WIDTH - LEFT - RIGHT) * (value - self.x_low) / ((self.x_high - self.x_low) or 1.0))

    def y(self, value: float) -> float:
        return _round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.y_low) / (self.y_high - self.y_low))


def _line(name: str, number: int, pairs: list[tuple[int, float]], frame: _Frame) -> Line:
    marks = tuple((frame.x(x), frame.y(y)) for x, y in pairs)
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in marks)
    return Line(name=name, series=number, path=path, last=marks[-1], marks=marks if len(marks) <= 30 else marks[-1:])


def _round(value: float) -> float:
    return round(value, 2)
