"""The words of the bazaar: its categories and what each of them follows, titles, descriptions, picture descriptions.

Text states the material (by one of several synonyms, not always, and among other materials) and the category; it never
tells colour, shape or pattern. Pictures show those three and tell nothing of the material.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROOT = "Bazaar"

COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = ("disc", "square", "triangle", "ring", "cross", "star")
PATTERNS = ("plain", "striped", "banded", "checked", "dotted", "slanted")
MATERIALS = ("wood", "metal", "glass", "cloth", "clay", "leather")
STYLES = ("country", "modern", "antique", "nordic", "eastern", "coastal")
VALUES = {"colour": COLOURS, "shape": SHAPES, "pattern": PATTERNS, "material": MATERIALS, "style": STYLES}
SEEN, READ = ("colour", "shape", "pattern"), ("material", "style")
"""Which attributes the picture shows and which the text tells."""
SIZE = 6
"""Values per attribute: every law counts modulo this."""

IMAGE, TEXT, BOTH, PLAIN, NOISE = "image", "text", "both", "none", "noise"


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of goods, its words, and its gears: sets of attributes whose sum a session advances."""

    name: str
    department: str
    nouns: tuple[str, ...]
    gears: tuple[tuple[str, ...], ...]

    @property
    def driver(self) -> str:
        """Which modality tells what comes next."""
        used = {attribute for gear in self.gears for attribute in gear}
        text, picture = bool(used & {*READ}), bool(used & {*SEEN})
        return BOTH if text and picture else TEXT if text else IMAGE if picture else PLAIN


_LOOKS = (("colour",), ("pattern",))
_WORDS = (("material",), ("style",))
_SYNERGY = (("colour", "material"), ("pattern", "style"))

CATEGORIES = (
    Category("Mugs", "Kitchen", ("mug", "cup", "beaker"), _LOOKS),
    Category("Jars", "Kitchen", ("jar", "canister", "pot"), _WORDS),
    Category("Trays", "Kitchen", ("tray", "platter", "salver"), _SYNERGY),
    Category("Cushions", "Living", ("cushion", "pillow", "bolster"), _LOOKS),
    Category("Lamps", "Living", ("lamp", "light", "sconce"), _WORDS),
    Category("Vases", "Living", ("vase", "urn", "amphora"), ()),
    Category("Planters", "Garden", ("planter", "flowerpot", "trough"), _SYNERGY),
    Category("Lanterns", "Garden", ("lantern", "candleholder", "torch"), ()),
    Category("Kites", "Garden", ("kite", "pennant", "streamer"), _LOOKS),
    Category("Satchels", "Travel", ("satchel", "bag", "holdall"), _WORDS),
    Category("Scarves", "Travel", ("scarf", "shawl", "wrap"), _SYNERGY),
    Category("Notebooks", "Travel", ("notebook", "journal", "diary"), ()),
)

SYNONYMS = {
    "material": (
        ("wooden", "oak", "timber", "walnut"),
        ("metal", "steel", "brass", "iron"),
        ("glass", "crystal", "glazed"),
        ("linen", "cotton", "woven", "canvas"),
        ("ceramic", "stoneware", "earthenware", "porcelain"),
        ("leather", "suede", "hide"),
    ),
    "style": (
        ("country", "rustic", "farmhouse", "cottage"),
        ("modern", "minimal", "contemporary"),
        ("antique", "vintage", "retro", "victorian"),
        ("nordic", "scandinavian", "alpine"),
        ("eastern", "persian", "moroccan", "oriental"),
        ("coastal", "nautical", "seaside"),
    ),
}
QUALITIES = [
    "classic",
    "handmade",
    "premium",
    "everyday",
    "compact",
    "sturdy",
    "elegant",
    "lightweight",
    "festive",
    "quiet",
    "signature",
    "original",
    "seasonal",
    "limited",
    "popular",
    "trusted",
    "simple",
]
ENDINGS = [
    "with gift box",
    "for beginners",
    "set of two",
    "second edition",
    "small",
    "large",
    "extra large",
    "for home and office",
    "new model",
    "imported",
    "by popular demand",
    "with care card",
    "easy to clean",
    "best of the year",
]
OPENINGS = [
    "A favourite of our regular customers.",
    "Designed in our own workshop.",
    "Back in stock after a long wait.",
    "Each piece differs a little from the next.",
    "Chosen by our buyers on the spring fair.",
    "A present that is remembered.",
    "Made in small batches.",
]
CLOSINGS = [
    "Ships within two days.",
    "Returns are free for a month.",
    "Wipe with a dry cloth.",
    "Keep away from direct sunlight.",
    "Comes with a two-year warranty.",
    "Packed without plastic.",
    "Repairs on request.",
]
BRANDS = tuple(
    f"{first}{last}"
    for first in ("Alder", "Birk", "Cala", "Dorn", "Esker", "Fenn", "Gard", "Hollo")
    for last in ("mere", "wick", "stad", "ford", "by")
)

_TITLE_TELLS, _DESCRIPTION_TELLS, _OTHER_NAMED = 0.88, 0.75, 0.4

_SEEN = (
    ("red", "crimson"),
    ("yellow", "golden"),
    ("green", "leaf-green"),
    ("cyan", "turquoise"),
    ("blue", "navy"),
    ("magenta", "pink"),
)
_DROPPED = 0.45


def pick(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def title(rng: np.random.Generator, category: Category, *, material: int, style: int) -> str:
    """Quality, usually style and material, in any order, noun and ending: "Rustic classic oak mug, set of two"."""
    words = [pick(rng, QUALITIES)]
    for name, value in (("material", material), ("style", style)):
        if rng.random() < _TITLE_TELLS:
            words.append(pick(rng, SYNONYMS[name][value]))
    sentence = " ".join([*(words[i] for i in rng.permutation(len(words))), pick(rng, category.nouns)])
    return f"{sentence.capitalize()}, {pick(rng, ENDINGS)}"


def description(rng: np.random.Generator, category: Category, *, material: int, style: int) -> str:
    """Up to five sentences; some may tell material and style, another may name ones that are not this item's."""
    sentences = [pick(rng, OPENINGS)]
    if rng.random() < _DESCRIPTION_TELLS:
        told = pick(rng, SYNONYMS["material"][material])
        sentences.append(f"This {pick(rng, QUALITIES)} {pick(rng, category.nouns)} has a {told} body.")
    if rng.random() < _DESCRIPTION_TELLS:
        sentences.append(f"Its look is {pick(rng, SYNONYMS['style'][style])}.")
    if rng.random() < _OTHER_NAMED:
        others = [pick(rng, SYNONYMS[name][int(rng.integers(SIZE))]) for name in ("style", "material")]
        sentences.append(f"Goes well with {' '.join(others)} things.")
    return " ".join([*sentences, pick(rng, CLOSINGS)])


def picture_description(rng: np.random.Generator, *, colour: int, shape: int, pattern: int) -> str:
    """What a careful but not complete observer says; at most one of colour, shape and pattern is left out."""
    left_out = int(rng.integers(3)) if rng.random() < _DROPPED else None
    seen = pick(rng, _SEEN[colour]) if left_out != 0 else ""
    surface = PATTERNS[pattern] if left_out != 1 else ""
    form = SHAPES[shape] if left_out != 2 else "thing"
    words = " ".join(w for w in (surface, seen, form) if w)
    return f"{pick(rng, ['A picture of a', 'The photo shows a', 'This is a'])} {words}."
