"""What a multimodal language model would write of the bazaar's items: the coarse views, from the grammar's own truth.

    described_image   colour, shape and pattern of the picture, in varied words, and nothing else
    described_text    a short factual summary of title and description: kind, department, material and style
    described_both    the facts of the two in one line

A summary is easier to read than the text (one word for each material, no other things named), and it LOSES detail: in
the categories of `LOST` it never tells the material, or never the style, though the titles go on telling it. Of every
driver (picture, text, both, none) one category keeps both, one loses the style, one the material: each of the two is
lost for a third of the items. What an item's own text does not tell, no summary tells. Nothing tells more than what it
was made from: the picture's view has no word of material, style or category, the text's view none of the picture.

All words come from a stream of random numbers of their own, item by item: no table of the bazaar depends on them. In
the noise twin they are those of the content that an item has, as its text and picture are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from medleyrec.schema import DESCRIBED_BOTH, DESCRIBED_IMAGE, DESCRIBED_TEXT, DESCRIPTIONS, ITEM
from medleyrec.sources.bazaar.catalogue import Card, cards, catalogue
from medleyrec.sources.bazaar.grammar import (
    CATEGORIES,
    COLOURS,
    PATTERNS,
    READ,
    SEEN,
    SHAPES,
    SYNONYMS,
    VALUES,
    Category,
    pick,
)
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers
from medleyrec.storage import atomic_file

VIEW, DESCRIBED = "view", "text"
"""The columns beside the item's id: which view, and what it says."""

LOST = {
    **dict.fromkeys(("Cushions", "Jars", "Planters", "Lanterns"), "style"),
    **dict.fromkeys(("Kites", "Satchels", "Scarves", "Notebooks"), "material"),
}
"""Category -> what its summaries never tell. Those of Mugs, Lamps, Trays and Vases lose nothing."""

_COLOURS = (
    ("red", "crimson", "scarlet"),
    ("yellow", "golden", "lemon"),
    ("green", "emerald"),
    ("cyan", "turquoise", "aqua"),
    ("blue", "navy", "azure"),
    ("magenta", "pink", "fuchsia"),
)
_SHAPES = (
    ("disc", "filled circle"),
    ("square", "box"),
    ("triangle", "three-cornered shape"),
    ("ring", "hoop"),
    ("cross", "plus sign"),
    ("star", "five-pointed star"),
)
_PATTERNS = (
    ("in one plain tone", "without any pattern", "evenly filled"),
    ("with upright stripes", "with vertical stripes"),
    ("with horizontal bands", "with level bands"),
    ("with a checked pattern", "chequered like a board"),
    ("covered in dots", "with round spots"),
    ("with slanted stripes", "with diagonal lines"),
)
_PICTURES = (
    "The picture shows a {colour} {shape} {pattern}.",
    "A {colour} {shape} {pattern} on a pale ground.",
    "This image has a {shape} in the middle, {colour} and {pattern}.",
    "One can see a {shape} {pattern}; its colour is {colour}.",
    "A photo of a {shape}. It is {colour}, {pattern}.",
)
_SUMMARIES = (
    "A {kind} from the {room} department{material}{style}.",
    "This is a {kind}{material}{style}, sold under {room}.",
    "{room}: a {kind}{style}{material}.",
)
_TOLD = {
    "material": (" made of {}", " in {}", " of {}"),
    "style": (" in {} style", " with {} looks"),
}
_WORD = re.compile(r"[a-z]+")


def descriptions(config: BazaarConfig) -> pa.Table:
    """Columns item_id, view, text: the views of every item one after the other, items in row order."""
    told = list(_told(config))
    ids = catalogue(config).ids
    return pa.table(
        {
            ITEM: pa.array([item for item in ids for _ in DESCRIPTIONS], pa.string()),
            VIEW: pa.array(DESCRIPTIONS * len(ids), pa.string()),
            DESCRIBED: pa.array([views[view] for views in told for view in DESCRIPTIONS], pa.string()),
        }
    )


def write_descriptions(config: BazaarConfig, path: Path) -> None:
    """The same as a Parquet file that is whole or absent; equal settings give equal bytes."""
    import pyarrow.parquet as pq

    with atomic_file(path) as partial:
        pq.write_table(descriptions(config), partial)


def _told(config: BazaarConfig) -> Iterator[dict[str, str]]:
    """View -> text of every item, in row order. A content has the same words whichever item it belongs to."""
    goods = catalogue(config)
    rows = zip(goods.content.tolist(), cards(config, goods), strict=True)
    for row, card in rows:
        rng = numbers(config, Stream.VIEWS, row)
        category = CATEGORIES[int(goods.category[row])]
        values = {name: int(goods.attributes[name][row]) for name in VALUES}
        seen = {name: values[name] for name in SEEN}
        read = {name: values[name] for name in READ if _is_told(card, category, name, values[name])}
        yield {
            DESCRIBED_IMAGE: _of_picture(rng, **seen),
            DESCRIBED_TEXT: _of_text(rng, category, read),
            DESCRIBED_BOTH: _of_both(category, read, **seen),
        }


def _is_told(card: Card, category: Category, name: str, value: int) -> bool:
    """Whether a summary tells this attribute: the text does, by a synonym, and the category does not lose it."""
    if LOST.get(category.name) == name:
        return False
    words = set(_WORD.findall(f"{card.title} {card.description}".lower()))
    return not words.isdisjoint(SYNONYMS[name][value])


def _of_picture(rng: np.random.Generator, *, colour: int, shape: int, pattern: int) -> str:
    words = {"colour": pick(rng, _COLOURS[colour]), "shape": pick(rng, _SHAPES[shape])}
    return _joined(pick(rng, _PICTURES), **words, pattern=pick(rng, _PATTERNS[pattern]))


def _of_text(rng: np.random.Generator, category: Category, read: dict[str, int]) -> str:
    facts = {name: pick(rng, _TOLD[name]) for name in READ}
    told = {name: facts[name].format(VALUES[name][read[name]]) if name in read else "" for name in READ}
    summary = pick(rng, _SUMMARIES)
    return _joined(summary, kind=pick(rng, category.nouns), room=category.department, **told)


def _of_both(category: Category, read: dict[str, int], *, colour: int, shape: int, pattern: int) -> str:
    told = ", ".join([category.nouns[0], *(VALUES[name][value] for name, value in read.items())])
    return _joined(f"{told}: a {COLOURS[colour]} {PATTERNS[pattern]} {SHAPES[shape]}.")


def _joined(template: str, **words: str) -> str:
    """The sentence with its words, a large first letter, and "an" before a vowel."""
    sentence = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format(**words))
    return sentence[:1].upper() + sentence[1:]


assert len(_COLOURS) == len(COLOURS)
assert len(_SHAPES) == len(SHAPES)
assert len(_PATTERNS) == len(PATTERNS)
