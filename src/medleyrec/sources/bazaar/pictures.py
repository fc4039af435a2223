"""An item's picture: a shape in a colour with a pattern, among nuisance.

Position, size, rotation, the colour of the ground, its gradient, shade and noise say nothing; hue, form and pattern are
the item's. A picture depends on the seed, its own row and the three attributes alone.
Letters:  S side in pixels
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np

from medleyrec.schema import Floats, Mask
from medleyrec.sources.bazaar.catalogue import Catalogue
from medleyrec.sources.bazaar.grammar import COLOURS, PATTERNS, SHAPES, SIZE
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers

SIDE = 64
QUALITY = 90  # of the JPEG
_HUE_JITTER = 0.075  # of a turn; neighbouring colours are 1/6 apart
_NOISE = 0.08  # standard deviation, of a range of 1


def pictures(config: BazaarConfig, goods: Catalogue) -> Iterator[bytes]:
    """JPEG bytes of every item's picture, in row order."""
    names = ("colour", "shape", "pattern")
    for row in goods.content.tolist():
        colour, shape, pattern = (int(goods.attributes[name][row]) for name in names)
        rng = numbers(config, Stream.PICTURES, row)
        yield encode(render(rng, colour=colour, shape=shape, pattern=pattern))


def encode(pixels: Floats) -> bytes:
    """(S, S, 3) in 0..1 -> JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()


def render(rng: np.random.Generator, *, colour: int, shape: int, pattern: int) -> Floats:
    """(S, S, 3) in 0..1."""
    across, down = _grid(rng)
    inside = _FORMS[SHAPES[shape]](across, down)[..., None]
    hue = colour / SIZE + rng.uniform(-_HUE_JITTER, _HUE_JITTER)
    ink = _rgb(hue, rng.uniform(0.55, 0.95), rng.uniform(0.6, 0.95))
    relief = np.where(_surface(rng, PATTERNS[pattern]), rng.uniform(0.45, 0.75), 1.0)[..., None]
    pixels = np.where(inside, ink * relief, _ground(rng))
    return np.clip(pixels + rng.normal(0, _NOISE, pixels.shape), 0, 1)


def _grid(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Coordinates in which the form has radius 1, moved, scaled and turned at random. Each (S, S)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    centre_x, centre_y = rng.uniform(0.38, 0.62, 2) * SIDE
    radius, turn = rng.uniform(0.27, 0.42) * SIDE, rng.uniform(-0.25, 0.25)
    x, y = (x - centre_x) / radius, (y - centre_y) / radius
    return x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)


def _star(x: Floats, y: Floats) -> Mask:
    return np.asarray(np.hypot(x, y) < 0.75 + 0.3 * np.cos(5 * np.arctan2(x, -y)))


_FORMS: dict[str, Callable[[Floats, Floats], Mask]] = {
    "disc": lambda x, y: np.hypot(x, y) < 0.95,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "triangle": lambda x, y: (y < 0.75) & (2.0 * abs(x) - y < 0.95),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.75) < 0.28,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.35) & (np.maximum(abs(x), abs(y)) < 1.0),
    "star": _star,
}


def _surface(rng: np.random.Generator, pattern: str) -> Mask:
    """Where the ink is darkened. (S, S)"""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    period, shift = rng.uniform(6, 10), rng.uniform(0, 10, 2)
    u, v = (x + shift[0]) % period < period / 2, (y + shift[1]) % period < period / 2
    surfaces: dict[str, Mask] = {
        "plain": np.zeros_like(u),
        "striped": u,
        "banded": v,
        "checked": u ^ v,
        "dotted": _dots(x + shift[0], y + shift[1], period),
        "slanted": (x + y + shift[0]) % (1.4 * period) < 0.7 * period,
    }
    return surfaces[pattern]


def _dots(x: Floats, y: Floats, period: float) -> Mask:
    return np.asarray(np.hypot(x % period - period / 2, y % period - period / 2) < 0.33 * period)


def _ground(rng: np.random.Generator) -> Floats:
    """A pale colour of any hue with a gradient. (S, S, 3)"""
    pale = _rgb(rng.uniform(), rng.uniform(0.05, 0.6), rng.uniform(0.4, 0.95))
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    slope = rng.uniform(-0.3, 0.3, 2)
    return np.asarray(pale + (slope[0] * x + slope[1] * y)[..., None])


def _rgb(hue: float, saturation: float, value: float) -> Floats:
    """Hue is in turns. (3,)"""
    turned = (np.array([0.0, -1 / 3, 1 / 3]) + hue) % 1.0
    pure = np.clip(np.abs(turned * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 - saturation * (1 - pure)))


assert len(COLOURS) == len(SHAPES) == len(PATTERNS) == SIZE
