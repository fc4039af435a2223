"""A report as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medleyrec.evaluation import words
from medleyrec.evaluation.metrics import LABELS, parse_metric

if TYPE_CHECKING:
    from rich.table import Table

    from medleyrec.evaluation.report import ModelRow, Report


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


def _cell(row: ModelRow, name: str) -> str:
    estimate = row.metrics.get(name)
    if estimate is None:
        return words.NONE
    low, high = (f"{bound:.4f}".replace("0.", ".", 1) for bound in (estimate.low, estimate.high))
    return f"{estimate.value:.4f} [dim]({low}-{high})[/dim]"
