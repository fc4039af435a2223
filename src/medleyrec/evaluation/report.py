"""What an evaluation found, as one frozen tree: it becomes report.json, report.md and report.html.

The tree holds numbers and words, no arrays, no clock and no path, so equal results give equal files. report.json holds
all of it, pictures included: `Report.read` brings it back, and the other two files can be written from it again.
Metric columns are named as in `metrics.py`; the headline is the one that plots, slices and the verdict speak of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from medleyrec.dataset.audit.findings import Audit
from medleyrec.evaluation.comparisons import Comparison
from medleyrec.evaluation.pictures import thumbnail
from medleyrec.evaluation.statistics import Estimate
from medleyrec.evaluation.verdict import verdict
from medleyrec.schema import InputError
from medleyrec.storage import read_json, write_text

FORMAT = 1
_STRICT = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A line of the table of models. None: not known or not applicable."""

    name: str
    kind: Literal["baseline", "model"]
    metrics: dict[str, Estimate]
    oracle_share: float | None = None
    """Headline metric as a share of the oracle's, where the data has one."""
    coverage: float | None = None
    """Share of the candidates that anyone is recommended."""
    mean_popularity: float | None = None
    """Training events of a recommended item, on average."""
    popularity_percentile: float | None = None
    """0 to 100."""
    parameters: int | None = None
    training_seconds: float | None = None
    targets_per_second: float | None = None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """Metrics of each model on a part of the events: models[model][metric]."""

    name: str
    events: int
    models: dict[str, dict[str, Estimate]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The same models under another way to judge, in a table of its own that is never the headline.

    models[model][metric] on all events, `groups` on parts of them; `why` says what it is for and what not.
    """

    title: str
    why: str
    models: dict[str, dict[str, Estimate]]
    groups: tuple[SliceRow, ...] = ()
    shown: tuple[str, ...] = ("hit_rate@10", "ndcg@10")
    """Metrics of the groups."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    epoch: int
    loss: float
    validation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Training of one model; `metric` names the validation values."""

    model: str
    metric: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCard:
    """An item as a reader sees it. `picture` may be given as any picture file; it is kept as a small JPEG, or None."""

    title: str
    picture: bytes | None = field(default=None, repr=False)
    is_target: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", thumbnail(self.picture))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleUser:
    """One event: history oldest first, what `model` recommends best first, and what came next."""

    user: str
    model: str
    history: tuple[ItemCard, ...]
    recommended: tuple[ItemCard, ...]
    target: ItemCard | None = None
    rank: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """See the top of the module. `verdict` is computed where it is not given."""

    title: str
    split: str
    candidates: str
    events: int
    users: int
    models: tuple[ModelRow, ...]
    facts: dict[str, str | int | float] = field(default_factory=dict)
    headline: str = "ndcg@10"
    popularity: str = "popularity"
    """Name of the model row that everything must beat."""
    plain: str | None = None
    """Name of the best model row without content, which fusion must beat."""
    slices: tuple[SliceRow, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    protocols: tuple[Protocol, ...] = ()
    """Other ways to judge, beside the one that the headline speaks of."""
    curves: tuple[Curve, ...] = ()
    examples: tuple[ExampleUser, ...] = ()
    audit: Audit | None = None
    """What is odd about the data and the split, before any model."""
    notes: tuple[str, ...] = ()
    command: str = ""
    """How to repeat the evaluation."""
    verdict: str = ""
    format_version: int = FORMAT

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def __post_init__(self) -> None:
        names = [row.name for row in self.models]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a report needs models of different names, not {names}")
        for row in self.models:
            if list(row.metrics) != list(self.models[0].metrics) or self.headline not in row.metrics:
                raise ValueError(
                    f"{row.name} has metrics {list(row.metrics)}: all models need the same, {self.headline} among them"
                )
        if not self.verdict:
            object.__setattr__(self, "verdict", verdict(self))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.models[0].metrics)

    def row(self, name: str | None) -> ModelRow | None:
        return next((row for row in self.models if row.name == name), None)

    def comparison(self, model: str, reference: str | None) -> Comparison | None:
        """The one on the headline metric."""
        wanted = (model, reference, self.headline)
        return next((c for c in self.comparisons if (c.model, c.reference, c.metric) == wanted), None)

    @property
    def between_models(self) -> tuple[Comparison, ...]:
        """Comparisons of two trained models; each pair stands here once."""
        trained = {row.name for row in self.models if row.kind == "model"}
        return tuple(c for c in self.comparisons if {c.model, c.reference} <= trained)

    @property
    def against_baselines(self) -> tuple[Comparison, ...]:
        """All other comparisons."""
        between = self.between_models
        return tuple(c for c in self.comparisons if c not in between)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; raises ValueError naming the place of a number that is NaN or infinite."""
        value: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        for place, number in _numbers(value, "report"):
            if not math.isfinite(number):
                raise ValueError(f"{place} is {number}, which is not JSON")
        return value

    @classmethod
    def from_json(cls, value: Any, *, where: str = "report") -> Report:
        try:
            report = _ADAPTER.validate_json(json.dumps(value), strict=False)
        except (ValidationError, ValueError) as error:
            raise InputError(f"{where} is no report of this version: {_first_line(error)}") from None
        if report.format_version != FORMAT:
            raise InputError(f"{where} has format {report.format_version}, this version reads {FORMAT}; evaluate again")
        return report

    @classmethod
    def read(cls, path: Path) -> Report:
        return cls.from_json(read_json(path), where=str(path))

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """report.json, report.md and report.html in `folder`, in this order."""
        from medleyrec.evaluation.pages import html, markdown

        texts = {
            # Keys keep their order: it is the order of the columns.
            "report.json": json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            "report.md": markdown(self),
            "report.html": html(self),
        }
        for name, text in texts.items():
            write_text(folder / name, text)
        return folder / "report.json", folder / "report.md", folder / "report.html"

    def __repr__(self) -> str:
        return f"Report({self.title!r}, {len(self.models)} models, {self.events} events: {self.verdict})"


_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def standard_notes(
    *,
    candidates: str,
    num_candidates: int,
    split: str,
    max_length: int,
    seen_masked: bool,
    level: float = 0.95,
    protocols: Sequence[str] = (),
) -> tuple[str, ...]:
    """What a reader must know to compare these numbers with others. protocols: titles of the tables beside them."""
    history = (
        "left out of the ranking" if seen_masked else "not masked: an item of the history can be recommended again"
    )
    apart = "".join(f' but in the table "{title}"' for title in protocols)
    return (
        f"Every target is ranked among all {num_candidates:,} candidates ({candidates}); nothing is sampled{apart}.",
        f"The split is {split}; a model sees the last {max_length} events before the target.",
        f"Items that the user had before are {history}.",
        "Ties count half of their span: rank = 1 + candidates better + candidates tied / 2.",
        f"Intervals hold {100 * level:g} % of bootstrap resamples of users; p values come from sign-flip tests over "
        "users, corrected after Holm for all comparisons listed. Neither covers the choice of seeds or of this data.",
    )


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{place}[{index}]")
    elif isinstance(value, float):
        yield place, value


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
