"""Category labels of a dataset, for the models that learn from them."""

from __future__ import annotations

from medleyrec.dataset.split import Split
from medleyrec.models import model_class
from medleyrec.models.categories import Categories


def categories_of(split: Split, model: str) -> Categories | None:
    """Labels that training items carry, of all items; None where the model `model` or the data have no use for them."""
    if not model_class(model).uses_categories or not split.facts.num_categories:
        return None
    return Categories.of(*split.dataset.categories, split.vocabulary)
