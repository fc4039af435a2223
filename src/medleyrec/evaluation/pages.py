"""A report as a page and as a Markdown text, an insight as a page, from the templates beside this file.

Everything that comes from data is escaped by the environment, not by the templates: HTML by autoescape, Markdown by
`finalize`, which every printed value goes through. The page forbids scripts and foreign addresses besides.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleyrec.evaluation import charts, words

if TYPE_CHECKING:
    from jinja2 import Environment

    from medleyrec.evaluation.insight import Insight
    from medleyrec.evaluation.report import Report

_TEMPLATES = Path(__file__).parent / "templates"
_WORDS: dict[str, Callable[..., str]] = {
    name: getattr(words, name)
    for name in (
        "bounds", "count", "decimal", "duration", "fact", "metric_label", "p_value", "percent", "rank", "signed",
        "signed_bounds",
    )
}  # fmt: skip
_JOINED = re.compile(r" (?=[%<=])|(?<=[<=]) |(?<=\d) (?=to [+-]?\d)|(?<=\d to) (?=[+-]?\d)")
_MARKS = re.compile(r"([\\`*_\[\]|~#])")


def html(report: Report) -> str:
    """One self-contained file."""
    page = _environment("html").get_template("report.html.j2")
    return page.render(
        report=report,
        plot=charts.whisker_plot(report),
        charts=charts.line_charts(report),
        series=charts.series(report),
        best=_best(report),
        size=charts,
    )


def markdown(report: Report) -> str:
    text = _environment("md").get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def insight_html(insight: Insight) -> str:
    """One self-contained file."""
    return _environment("html").get_template("insight.html.j2").render(insight=insight)


def _best(report: Report) -> dict[str, float]:
    """Highest value of each metric."""
    return {name: max(row.metrics[name].value for row in report.models) for name in report.metrics}


@cache
def _environment(kind: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    options: dict[str, Any] = {"finalize": _plain} if kind == "md" else {}
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters |= {**_WORDS, "data_uri": _data_uri, "code": _code, "unbroken": _unbroken}
    return environment


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _unbroken(sentence: str) -> str:
    """No line ends inside a number with its sign, or inside an interval."""
    return _JOINED.sub("\N{NO-BREAK SPACE}", sentence)


def _plain(value: Any) -> Any:
    """Text that Markdown shows as it is: one line, no mark-up, no HTML."""
    from markupsafe import Markup

    if isinstance(value, Markup):
        return value
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_MARKS.sub(r"\\\1", line))  # noqa: S704  escaped on the two lines above


def _code(value: str) -> Any:
    """A line inside a code fence, which shows everything as it is but the end of the fence."""
    from markupsafe import Markup

    return Markup(" ".join(value.replace("```", "'''").splitlines()))  # noqa: S704  a fence is not read as HTML
