"""What is still to be asked, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from medleyrec.features.describe.estimate import Measured, Prices, amount, call_tokens, measured
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.log import AnswerLog
from medleyrec.features.describe.series import AnswerSettings, Question, Series
from medleyrec.schema import DESCRIPTIONS, Int64s

Progress = Callable[[int, int], None]
EVERY = 500


def ordered(counts: Int64s, order: str) -> list[int]:
    """(V,) training events of each item -> rows 1 to V - 1; equal ones in the order of the catalogue.

    "uncertain" begins with the items of fewest training events: there content is all that a model has to go by.
    """
    rows = np.arange(1, len(counts))
    if order == "catalogue":
        return [int(row) for row in rows]
    events = np.asarray(counts)[1:]
    chosen = rows[np.argsort(-events if order == "frequent" else events, kind="stable")]
    return [int(row) for row in chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """todo: (item row, view) of each question, in order; expected tokens by view."""

    series: Series
    todo: list[tuple[int, str]]
    answered: int
    tokens_in: Counter[str]
    known: dict[str, Measured]

    def __len__(self) -> int:
        return len(self.todo)

    def __repr__(self) -> str:
        return f"Plan({len(self):,} questions to {self.series.origin}, {self.answered:,} answered)"

    @property
    def calls(self) -> Counter[str]:
        return Counter(view for _, view in self.todo)

    def expected(self) -> tuple[int, int]:
        """Tokens in and out; where too few answers are there to tell, out is the most that can come."""
        assert self.series.settings is not None
        into = out = 0.0
        for view, calls in self.calls.items():
            mean = self.known.get(view)
            into += self.tokens_in[view] if mean is None else calls * mean.tokens_in
            out += calls * (self.series.settings.most_out if mean is None else mean.tokens_out)
        return round(into), round(out)

    def told(self, prices: Prices) -> str:
        """For a reader, before anything is sent."""
        into, out = self.expected()
        calls = ", ".join(f"{view} {number:,}" for view, number in self.calls.items()) or "none"
        most = "" if self.calls.keys() <= self.known.keys() else "at most "
        basis = "by the answers so far" if self.known else "estimated"
        money = prices.of(into, out)
        cost = f" This costs about {amount(money)} at the prices given." if prices != Prices() else ""
        return (
            f"{len(self):,} calls to be made ({calls}); {self.answered:,} questions are answered already. "
            f"About {into:,} tokens in and {most}{out:,} out ({basis}).{cost}"
        )


def planned(
    series: Series,
    items: Items,
    log: AnswerLog,
    *,
    rows: Collection[int],
    views: tuple[str, ...] = DESCRIPTIONS,
    retry: Collection[str] = (),
    limit: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Questions without an answer, or with one of the statuses in `retry`; of at most `limit` items that lack one."""
    todo, seen, tokens, answered, lacking = list[tuple[int, str]](), set[str](), Counter[str](), 0, 0
    for done, row in enumerate(rows, 1):
        before = len(todo)
        for question in series.questions(items, row, views):
            stored = log.index.get(question.key)
            if question.key in seen or (stored is not None and stored.status not in retry):
                answered += stored is not None and question.key not in seen
            else:
                todo.append((row, question.view))
                tokens[question.view] += estimated(series, question)
            seen.add(question.key)
        lacking += len(todo) > before
        if progress is not None and (done % EVERY == 0 or done == len(rows)):
            progress(done, len(rows))
        if limit is not None and lacking >= limit:
            break
    known = {view: mean for view in views if (mean := _measured(log, series, view)) is not None}
    return Plan(series, todo, answered, tokens, known)


def estimated(series: Series, question: Question) -> int:
    """Tokens in."""
    assert series.prompts is not None
    assert series.settings is not None
    settings: AnswerSettings = series.settings
    return call_tokens((series.prompts.told_system, question.text), settings.side if question.pictured else None)


def _measured(log: AnswerLog, series: Series, view: str) -> Measured | None:
    """By all that this model answered, whatever its prompts and settings were then."""
    alike = {s.id for s in log.series.values() if (s.kind, s.name) == (series.kind, series.name)}
    return measured(s for s in log.index.values() if s.series in alike and s.view == view)
