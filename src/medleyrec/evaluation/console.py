"""A report as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medleyrec.evaluation import words
from medleyrec.evaluation.metrics import LABELS, parse_metric

if TYPE_CHECKING:
    from rich.table import Table

    from medleyrec.evaluation.report import ModelRow, Protocol, Report, SliceRow

_ABREAST = 5  # models beside each other


def console_tables(report: Report) -> list[Table]:
    """The models, the headline on parts of the events, and other ways to judge."""
    tables = [console_table(report)]
    if report.slices:
        title = f"{words.metric_label(report.headline)} by slice"
        tables += _parts(title, report.slices, report, (report.headline,))
    for protocol in report.protocols:
        tables += _protocol(report, protocol)
    return tables


def console_table(report: Report) -> Table:
    """Per model a line for each cutoff: every metric with its interval, and the share of the oracle where known."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    parsed = [parse_metric(name) for name in report.metrics]
    metrics, cutoffs = dict.fromkeys(m for m, _ in parsed), dict.fromkeys(k for _, k in parsed)
    oracle = any(row.oracle_share is not None for row in report.models)
    title = f"{report.title}: {report.split}, {report.events:,} events"
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", min_width=16)
    table.add_column("k", justify="right", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{LABELS[metric]} (interval)", justify="right", min_width=13)  # narrow: in two lines
    if oracle:
        table.add_column("oracle", justify="right", no_wrap=True)
    for row in report.models:
        for place, k in enumerate(cutoffs):
            cells = ["" if place else escape(row.name), str(k), *(_cell(row, f"{metric}@{k}") for metric in metrics)]
            cells += (
                [words.percent(row.oracle_share) if parse_metric(report.headline)[1] == k else ""] if oracle else []
            )
            last = place == len(cutoffs) - 1
            table.add_row(*cells, style="dim" if row.kind == "baseline" else None, end_section=last)
    return table


def _protocol(report: Report, protocol: Protocol) -> list[Table]:
    """Its main metrics on all events and on its groups, under the sentence that says what it is not."""
    from medleyrec.evaluation.report import SliceRow

    everything = SliceRow(name="all", events=report.events, models=protocol.models)
    return _parts(f"{protocol.title}. {protocol.why}", (everything, *protocol.groups), report, protocol.shown)


def _parts(title: str, parts: Sequence[SliceRow], report: Report, metrics: Sequence[str]) -> list[Table]:
    """Tables of so few models that they fit a narrow terminal; the title stands above the first."""
    names = [row.name for row in report.models]
    groups = [names[at : at + _ABREAST] for at in range(0, len(names), _ABREAST)]
    return [_part_table("" if n else title, parts, group, metrics) for n, group in enumerate(groups)]


def _part_table(title: str, parts: Sequence[SliceRow], models: Sequence[str], metrics: Sequence[str]) -> Table:
    """A line for each part and metric, a narrow column for each model; intervals stand in the report."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    table.add_column("part of the events", min_width=12)
    table.add_column("events", justify="right", no_wrap=True)
    for name in models:
        table.add_column(escape(name), justify="right", overflow="fold", min_width=6, max_width=12)
    for part in parts:
        for place, metric in enumerate(metrics):
            label = part.name if len(metrics) == 1 else f"{part.name}, {words.metric_label(metric)}"
            head = [words.metric_label(metric), ""] if place else [escape(label), words.count(part.events)]
            found = [part.models.get(name, {}).get(metric) for name in models]
            table.add_row(*head, *(words.NONE if estimate is None else f"{estimate.value:.4f}" for estimate in found))
    return table


def _cell(row: ModelRow, name: str) -> str:
    estimate = row.metrics.get(name)
    if estimate is None:
        return words.NONE
    low, high = (f"{bound:.4f}".replace("0.", ".", 1) for bound in (estimate.low, estimate.high))
    return f"{estimate.value:.4f} [dim]({low}-{high})[/dim]"
