"""The items of the bazaar: latent attributes drawn independently of one another, and the texts that tell some of them.

Letters:  N items   C categories   m values per attribute
An item is a row 0..N-1 here; its external id says nothing of its category or attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medleyrec.schema import Floats, Int64s
from medleyrec.sources.bazaar.grammar import BRANDS, CATEGORIES, ROOT, SIZE, VALUES, Category, description, pick, title
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers

_SKEW, _SPREAD = 0.3, 24  # appeal is (1 + 24 u)^-0.3, u uniform: a group of 25 with Zipf exponent 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """Columns over items. `category` indexes grammar.CATEGORIES, attributes index grammar.VALUES."""

    category: Int64s  # (N,)
    attributes: dict[str, Int64s]  # name -> (N,), values 0..m-1
    appeal: Floats  # (N,) popularity of an item beside others of its category
    content: Int64s  # (N,) which text and picture an item has: the items' own rows, permuted in the noise twin

    def __len__(self) -> int:
        return len(self.category)

    @property
    def ids(self) -> list[str]:
        return [f"item-{row:05d}" for row in range(len(self))]

    def shown(self) -> Catalogue:
        """Category and attributes as an item's content tells them, which in the noise twin is another item's."""
        attributes = {name: values[self.content] for name, values in self.attributes.items()}
        return replace(self, category=self.category[self.content], attributes=attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The text side of one item."""

    title: str
    description: str
    categories: list[list[str]]
    brand: str
    price: float


def catalogue(config: BazaarConfig) -> Catalogue:
    rng = numbers(config, Stream.ATTRIBUTES)
    category = rng.permutation(np.arange(config.items) % len(CATEGORIES))
    attributes = {name: np.zeros(config.items, dtype=np.int64) for name in VALUES}
    appeal = np.zeros(config.items)
    for c, kind in enumerate(CATEGORIES):
        rows = np.flatnonzero(category == c)
        group = _balanced(rng, len(rows), SIZE * SIZE)
        for name, values in _attributes(rng, kind, group).items():
            attributes[name][rows] = values
        appeal[rows] = _appeal(rng, group)
    return Catalogue(category=category, attributes=attributes, appeal=appeal, content=_contents(config))


def _attributes(rng: np.random.Generator, kind: Category, group: Int64s) -> dict[str, Int64s]:
    """Every attribute is balanced and random; those in gears are bent so that the gears' sums are the group."""
    values = {name: _balanced(rng, len(group), SIZE) for name in VALUES}
    for gear, total in zip(kind.gears, np.divmod(group, SIZE), strict=False):
        others = sum((values[name] for name in gear[1:]), np.zeros_like(total))
        values[gear[0]] = (total - others) % SIZE
    return values


def _balanced(rng: np.random.Generator, count: int, values: int) -> Int64s:
    """Random values 0..values-1, each as often as any other (to within one)."""
    return rng.permutation(rng.permutation(values)[np.arange(count) % values])


def _appeal(rng: np.random.Generator, group: Int64s) -> Floats:
    """Mildly skewed weights with the same sum in every group, so that popularity does not tell the group."""
    weights = (1 + _SPREAD * rng.random(len(group))) ** -_SKEW
    sums = np.bincount(group, weights, minlength=SIZE * SIZE)
    return np.asarray(weights / sums[group])


def _contents(config: BazaarConfig) -> Int64s:
    if not config.noise:
        return np.arange(config.items)
    return numbers(config, Stream.TWIN_CONTENTS).permutation(config.items)


def cards(config: BazaarConfig, goods: Catalogue) -> list[Card]:
    """The text of every item, in row order; brand and price are independent of everything but the category."""
    rng = numbers(config, Stream.WORDS)
    columns = (goods.category, goods.attributes["material"], goods.attributes["style"])
    own = [_card(rng, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return [own[row] for row in goods.content]


def _card(rng: np.random.Generator, c: int, material: int, style: int) -> Card:
    category = CATEGORIES[c]
    return Card(
        title=title(rng, category, material=material, style=style),
        description=description(rng, category, material=material, style=style),
        categories=[[ROOT, category.department, category.name]],
        brand=pick(rng, BRANDS),
        price=round(float(np.exp(rng.normal(2.5 + 0.1 * c, 0.4))), 2),
    )
