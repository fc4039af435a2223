"""The sentence on top of a report, computed from its numbers: it claims what is shown, and says so where nothing is.

A model is "shown" to be better where the paired test, corrected for the number of questions, says p < 0.05.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medleyrec.evaluation.metrics import parse_metric
from medleyrec.evaluation.words import first, metric_label, p_equals, signed, signed_bounds

if TYPE_CHECKING:
    from medleyrec.evaluation.comparisons import Comparison
    from medleyrec.evaluation.report import ModelRow, Report


def verdict(report: Report) -> str:
    """One to three sentences on the best model, next to popularity, the plain model and the other baselines."""
    models = sorted((m for m in report.models if m.kind == "model"), key=lambda m: -_value(report, m))
    if not models:
        best = max(report.models, key=lambda m: _value(report, m))
        return f"No model was trained. {_reached(report, best)}."
    popularity = report.row(report.popularity)
    tests = {m.name: report.comparison(m.name, report.popularity) for m in models}
    if popularity is None or not any(tests.values()):
        return f"{_reached(report, models[0])}. It was not tested against {report.popularity}."
    shown = [m for m in models if (test := tests[m.name]) is not None and test.better]
    if not shown:
        return _nothing(models[0], popularity, tests[models[0].name])
    best = shown[0]
    said = f"{_reached(report, best)}{_times(report, best, popularity)}{_against_plain(report, best)}."
    return said + _against_others(report, best)


def _value(report: Report, row: ModelRow) -> float:
    return row.metrics[report.headline].value


def _reached(report: Report, row: ModelRow) -> str:
    _, k = parse_metric(report.headline)
    hits = row.metrics.get(f"hit_rate@{k}")
    if hits is None:
        estimate = row.metrics[report.headline]
        return f"{row.name} reaches {metric_label(report.headline)} {estimate}"
    whose = "users" if report.users == report.events else "test events"
    return (
        f"{row.name} ranks the true next item in the {first(k)} for {100 * hits.value:.1f} % of {whose} "
        f"({100 * hits.low:.1f} to {100 * hits.high:.1f})"
    )


def _times(report: Report, best: ModelRow, popularity: ModelRow) -> str:
    _, k = parse_metric(report.headline)
    name = f"hit_rate@{k}" if f"hit_rate@{k}" in best.metrics else report.headline
    base = popularity.metrics[name].value
    if base <= 0:
        return f"; {popularity.name} has none"
    return f", {best.metrics[name].value / base:.1f} times {popularity.name}"


def _against_plain(report: Report, best: ModelRow) -> str:
    test = None if report.plain == best.name else report.comparison(best.name, report.plain)
    if test is None:
        return ""
    told = f"the {metric_label(test.metric)} difference to {test.reference} is {_told(test)}"
    return f"; {told}" if test.shown else f"; {told}, so none is shown"


def _against_others(report: Report, best: ModelRow) -> str:
    """Baselines that the best model does not beat: the reader must not have to look for them."""
    said, label = "", metric_label(report.headline)
    for row in report.models:
        test = report.comparison(best.name, row.name)
        if row.kind != "baseline" or row.name == report.popularity or test is None or test.better:
            continue
        if test.worse:
            said += f" The untrained baseline {row.name} is better: the {label} difference is {_told(test)}."
        else:
            said += f" It is not shown to be better than {row.name}: {label} {_told(test)}."
    return said


def _nothing(best: ModelRow, popularity: ModelRow, test: Comparison | None) -> str:
    said = f"No model is shown to be better than {popularity.name} on this data."
    if test is None:
        return said
    told = f"the {metric_label(test.metric)} difference of the best, {best.name}, is {_told(test)}"
    return f"{said} {popularity.name.capitalize()} is better: {told}." if test.worse else f"{said} {_capital(told)}."


def _told(test: Comparison) -> str:
    return f"{signed(test.difference.value)} ({signed_bounds(test.difference)}, {p_equals(test.p_holm)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
