"""How numbers are written in reports: the same in the page, the tables and the sentences."""

from __future__ import annotations

from medleyrec.evaluation.metrics import LABELS, parse_metric
from medleyrec.evaluation.statistics import Estimate

NONE = "–"  # noqa: RUF001  an en dash stands for a number that there is none of
_FIRST = {1: "first", 3: "first three", 5: "first five", 10: "first ten", 20: "first twenty"}


def metric_label(name: str) -> str:
    metric, k = parse_metric(name)
    return f"{LABELS[metric]}@{k}"


def first(k: int) -> str:
    return _FIRST.get(k, f"first {k}")


def decimal(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def signed(value: float) -> str:
    return f"{value:+.4f}"


def percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f} %"


def count(value: float | None) -> str:
    """1,234 or 12.3: no more digits than say something."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.1f}"


def fact(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def bounds(estimate: Estimate) -> str:
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def signed_bounds(estimate: Estimate) -> str:
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rank(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
