"""Paired comparisons of several models, corrected together: a table of differences that may be read at one level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medleyrec.evaluation.metrics import Values
from medleyrec.evaluation.statistics import DRAWS, RESAMPLES, Estimate, compare, holm
from medleyrec.schema import Int64s

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`model` minus `reference` on one metric and the same events."""

    model: str
    reference: str
    metric: str
    difference: Estimate
    p: float
    p_holm: float

    @property
    def shown(self) -> bool:
        """Whether there is a difference at all, after correction."""
        return self.p_holm < ALPHA

    @property
    def better(self) -> bool:
        return self.shown and self.difference.value > 0

    @property
    def worse(self) -> bool:
        return self.shown and self.difference.value < 0


def every_pair(models: Sequence[str], baselines: Sequence[str], plain: str | None) -> list[tuple[str, str]]:
    """Every model against every baseline; then every two models once: later against earlier, any against `plain`."""
    ordered = sorted(models, key=lambda name: name != plain)  # stable: the plain one comes first
    between = [(later, earlier) for place, later in enumerate(ordered) for earlier in ordered[:place]]
    return [*((model, baseline) for model in models for baseline in baselines), *between]


def compare_all(
    values: Mapping[str, Values],
    users: Int64s,
    pairs: Iterable[tuple[str, str]],
    metrics: Iterable[str],
    *,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Each (model, reference) of `pairs` on each of `metrics`; one Holm correction over all of them.

    values: by model name, over the same events; users (E,) names each event's user.
    """
    names = tuple(metrics)
    found = []
    for model, reference in pairs:
        one, other = (Values(names, np.column_stack([values[m][n] for n in names])) for m in (model, reference))
        paired = compare(one, other, users, draws=draws, resamples=resamples, seed=seed)
        found += [(model, reference, name, paired[name]) for name in names]
    adjusted = holm([paired.p for *_, paired in found])
    return tuple(
        Comparison(model=m, reference=r, metric=n, difference=x.difference, p=x.p, p_holm=float(p))
        for (m, r, n, x), p in zip(found, adjusted, strict=True)
    )
