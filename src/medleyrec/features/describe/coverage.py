"""How much of a dataset each series has described, and which series speaks for a project.

One series is chosen for all views: sentences of a template beside those of a model would teach the difference between
the two, not between the items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medleyrec.features.describe.answers import OK, STATUSES, USABLE
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.log import AnswerLog
from medleyrec.features.describe.series import FILE, TEMPLATE, Series
from medleyrec.schema import DESCRIPTIONS, InputError

Keys = dict[str, list[str | None]]
"""By view, the key of each item row from 1 on; None where the item lacks what the view describes."""


def keys_of(series: Series, items: Items) -> Keys:
    keys: Keys = {view: [None] * len(items) for view in DESCRIPTIONS}
    for row in range(1, len(items) + 1):
        for question in series.questions(items, row):
            keys[question.view][row - 1] = question.key
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """Of one series: keys by view, and how often each status occurs among them."""

    series: Series
    keys: Keys
    counts: dict[str, Counter[str]]

    def __repr__(self) -> str:
        told = ", ".join(f"{view} {self.usable(view):,} of {self.askable(view):,}" for view in DESCRIPTIONS)
        return f"Coverage({self.series.origin}: {told})"

    def askable(self, view: str) -> int:
        """Items that have what the view describes."""
        return sum(key is not None for key in self.keys[view])

    def usable(self, view: str) -> int:
        return sum(self.counts[view][status] for status in USABLE)

    def outstanding(self, view: str) -> int:
        return self.askable(view) - self.counts[view].total()

    @property
    def views(self) -> list[str]:
        """With at least one usable answer."""
        return [view for view in DESCRIPTIONS if self.usable(view)]

    @property
    def complete(self) -> list[str]:
        return [view for view in self.views if not self.outstanding(view)]

    @property
    def total(self) -> int:
        return sum(self.usable(view) for view in DESCRIPTIONS)


def covered(log: AnswerLog, series: Series, items: Items) -> Coverage:
    keys = keys_of(series, items)
    counts = {
        view: Counter(log.index[key].status for key in found if key is not None and key in log.index)
        for view, found in keys.items()
    }
    return Coverage(series, keys, counts)


def chosen(log: AnswerLog, items: Items, use: str | None = None) -> Coverage | None:
    """The series with most complete views, of equal ones the most recent; without a complete view, most answers.

    `use` (a model's or a file's name, an origin, "template", or the first letters of an id) narrows the choice.
    None where nothing usable is there.
    """
    wanted = matching(log, use)
    found = [covered(log, series, items) for series in wanted]
    ranked = [(len(c.complete), 0 if c.complete else c.total, age, c) for age, c in enumerate(found) if c.total]
    return max(ranked, key=lambda r: r[:3])[3] if ranked else None


def matching(log: AnswerLog, use: str | None) -> list[Series]:
    """Oldest first. Raises InputError where `use` names none."""
    if use is None:
        return list(log.series.values())
    found = [s for s in log.series.values() if use and (use in (s.name, s.origin, s.kind) or s.id.startswith(use))]
    if not found:
        there = ", ".join(sorted({repr(s.origin) for s in log.series.values()})) or "none yet"
        raise InputError(f"no descriptions of {use!r} are in {log.folder}; there are: {there}")
    return found


def told(coverage: Coverage, views: Sequence[str] = DESCRIPTIONS) -> str:
    """One paragraph: coverage by view, origin, what cannot be used."""
    sentences = [f"Origin: {coverage.series.origin}."]
    sentences += [_told_view(coverage, view) for view in views]
    total = sum((coverage.counts[view] for view in views), Counter[str]())
    named = {
        "cut": "were cut at the token limit (used all the same)",
        "refused": "were refused",
        "empty": "were empty",
        "failed": "failed for good",
    }
    odd = [f"{total[status]:,} {named[status]}" for status in STATUSES if status != OK and total[status]]
    if odd:
        unused = any(total[s] for s in STATUSES if s not in USABLE)
        mend = "is asked again with --retry refused,empty,failed"
        if coverage.series.kind == FILE:
            mend = "is replaced by mending that file and giving it again"
        again = f"; what cannot be used {mend}" if unused else ""
        sentences.append(f"Of the answers, {', '.join(odd)}{again}.")
    return " ".join(sentences)


def _told_view(coverage: Coverage, view: str) -> str:
    askable, items = coverage.askable(view), len(coverage.keys[view])
    if not askable:
        lacking = "no item has a picture" if view != "described_text" else "no item has a text"
        return f"{view}: {lacking}." if coverage.series.kind != TEMPLATE else f"{view}: nothing to tell."
    having = {"described_image": "with a picture", "described_text": "with a text", "described_both": "with both"}[view]
    fitting = "" if askable == items or coverage.series.kind in (FILE, TEMPLATE) else f" {having} ({items:,} in all)"
    share = f"{coverage.usable(view) / askable:.1%}"
    return f"{view}: {coverage.usable(view):,} of {askable:,} items{fitting} described, {share}."
