"""The registries: adding a model is one file and one line here. Classes are imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medleyrec.config import parse
from medleyrec.schema import Facts, Features, InputError, Mask

if TYPE_CHECKING:
    from medleyrec.models.base import Ranker, SequenceModel
    from medleyrec.models.categories import Categories
    from medleyrec.models.popularity import Popularity
    from medleyrec.models.transitions import Transitions

MODELS: dict[str, str] = {
    "sasrec": "medleyrec.models.sasrec:SASRec",
    "gru4rec": "medleyrec.models.gru4rec:GRU4Rec",
    "bert4rec": "medleyrec.models.bert4rec:BERT4Rec",
    "hm4sr": "medleyrec.models.hm4sr:HM4SR",
    "cammsr": "medleyrec.models.cammsr:CAMMSR",
    "dmesr": "medleyrec.models.dmesr:DMESR",
}
"""Trained models: name -> "module:class" of a SequenceModel."""

BASELINES: dict[str, tuple[str, dict[str, Any]]] = {
    "popularity": ("medleyrec.models.popularity:Popularity", {}),
    "recent-popularity": ("medleyrec.models.popularity:Popularity", {"half_life": 30.0}),
    "transitions": ("medleyrec.models.transitions:Transitions", {}),
}
"""Untrained rankers: name -> ("module:class", settings that differ from its defaults)."""


def load(target: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def model_class(name: str) -> type[SequenceModel]:
    """Raises InputError for a name that is not registered."""
    if name not in MODELS:
        raise InputError(f"there is no model {name!r}; there are: {', '.join(sorted(MODELS))}")
    cls: type[SequenceModel] = load(MODELS[name])
    return cls


def build(
    name: str,
    facts: Facts,
    features: Features | None = None,
    *,
    train_items: Mask | None = None,
    categories: Categories | None = None,
    **settings: Any,
) -> SequenceModel:
    """A fresh model; its random start follows torch's global generator.

    categories: of the items, for the models that learn from them (`uses_categories`); the others do without.
    """
    cls = model_class(name)
    checked = parse(cls.Settings, settings, where=f"model {name}")
    more = {"categories": categories} if cls.uses_categories else {}
    model: SequenceModel = cls(checked, facts, features, train_items=train_items, **more)
    return model


def baseline(name: str, **settings: Any) -> Popularity | Transitions:
    """A baseline yet to be fitted: ``baseline("popularity").fit(items, times, users, num_items=V)``."""
    if name not in BASELINES:
        raise InputError(f"there is no baseline {name!r}; there are: {', '.join(sorted(BASELINES))}")
    target, preset = BASELINES[name]
    cls = load(target)
    ranker: Popularity | Transitions = cls(parse(cls.Settings, {**preset, **settings}, where=f"baseline {name}"))
    return ranker


__all__ = ["BASELINES", "MODELS", "Ranker", "SequenceModel", "baseline", "build", "load", "model_class"]
