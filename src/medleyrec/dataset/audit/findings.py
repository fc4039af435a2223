"""What an audit says: sentences with their numbers, facts and cautions, as one frozen tree.

A finding is read by people (the sentence) and by programs (its values by name). Shares are numbers from 0 to 1, times
and gaps are seconds. No array, no clock and no path is kept, so equal data give equal files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medleyrec.dataset.moments import day
from medleyrec.schema import InputError

FORMAT = 1

Number = int | float
Level = Literal["fact", "caution"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about the data. A caution changes how results on this data may be read."""

    name: str
    sentence: str
    values: Mapping[str, Number] = field(default_factory=dict)
    examples: tuple[tuple[str, ...], ...] = ()
    """Items named together, by external id."""
    level: Level = "fact"

    def __post_init__(self) -> None:
        for key, value in self.values.items():
            if not math.isfinite(value):
                raise ValueError(f"{self.name}.{key} is {value}, which is not JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Findings on one dataset and one split of it, in the order of reading."""

    split: str
    findings: tuple[Finding, ...]
    key: str = ""
    """Hash of what was audited and how: equal keys mean equal findings."""
    complete: bool = True
    """Whether models were asked and pictures compared; a quick audit leaves that out."""
    format_version: int = FORMAT

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        """Cautions first."""
        return iter((*self.cautions, *self.facts))

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding {name!r}; there are: {', '.join(f.name for f in self.findings)}")

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __repr__(self) -> str:
        return f"Audit({len(self)} findings, {len(self.cautions)} cautions; {self.split})"

    @property
    def cautions(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.level == "caution")

    @property
    def facts(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.level == "fact")

    @property
    def lead(self) -> str:
        """What a reader meets first."""
        count = len(self.cautions)
        told = {0: "No finding changes", 1: "One caution changes"}.get(count, f"{count} cautions change")
        quick = "" if self.complete else " This was a quick audit: no model was asked, no text or picture compared."
        return f"{told} how results on this data may be read.{quick}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, *, where: str = "audit.json") -> Audit:
        """Raises InputError where `value` is not what `to_json` gives in this version."""
        try:
            if value["format_version"] != FORMAT:
                raise InputError(f"{where} has format {value['format_version']}, this version reads {FORMAT}")
            findings = tuple(
                Finding(**{**f, "examples": tuple(tuple(e) for e in f["examples"])}) for f in value["findings"]
            )
            return cls(**{**value, "findings": findings})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where} is no audit of this version; delete it and audit again") from None


def percent(share: float) -> str:
    """43.9 %; what is not none or all never reads as 0.0 or 100.0."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    if 0.9995 <= share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f} %"


def span(seconds: float) -> str:
    """12 s, 3.5 minutes, 2.0 hours, 41.3 days."""
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:,.0f} s"


def date(seconds: int) -> str:
    """2014-07-23, UTC"""
    try:
        return day(seconds)
    except OverflowError:  # before year 1 or after year 9999
        return f"second {seconds:,}"


def level(caution: bool) -> Level:
    return "caution" if caution else "fact"


def ratio(part: float, whole: float) -> float:
    """part / whole, 0 where there is nothing."""
    return float(part / whole) if whole else 0.0
