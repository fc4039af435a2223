"""What a small square picture looks like, in numbers: colour, edges, texture.

Letters:  S side of the square, pixels

Histograms sum to 1 per cell and are square-rooted (Hellinger), so that Euclidean distance suits them. Edges are
histograms of oriented gradients (Dalal & Triggs, 2005), texture is uniform local binary patterns (Ojala et al., 2002).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.decode import Picture

Floats = NDArray[np.float32]

HUES, SATURATIONS, VALUES = 8, 3, 3
GREYS = 6
GREY_BELOW, BLACK_BELOW = 0.12, 0.12
"""Saturation and value (0..1) under which hue means nothing."""
COLOURS = HUES * SATURATIONS * VALUES + GREYS
PATTERNS = 59  # uniform patterns of 8 neighbours, direction kept
RADII = (1, 3)  # pixels
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # down, right; in order around


def describe(picture: Picture) -> dict[str, Floats]:
    """The blocks of descriptors of one (S, S, 3) picture; each is a flat vector of fixed length."""
    lab, colour = _colours(picture)
    grey = _grey(picture)
    return {
        "colour": np.concatenate([_histograms(colour, COLOURS, 1), _histograms(colour, COLOURS, 2)]),
        "moments": _moments(lab, 3),
        "edges": _edges(grey),
        "texture": np.concatenate([_texture(grey, radius) for radius in RADII]),
    }


def _colours(picture: Picture) -> tuple[Floats, NDArray[np.int64]]:
    """CIELAB (S, S, 3) and the joint HSV bin (S, S) of every pixel, read from tables over 5 bits per channel."""
    red, green, blue = np.moveaxis((picture >> 3).astype(np.int32), -1, 0)
    codes = red << 10 | green << 5 | blue
    lab, bins = _colour_tables()
    return lab.take(codes, axis=0), bins.take(codes)


def _grey(picture: Picture) -> Picture:
    """(S, S), Rec. 601."""
    red, green, blue = np.moveaxis(picture.astype(np.int32), -1, 0)
    grey: Picture = ((red * 299 + green * 587 + blue * 114) // 1000).astype(np.uint8)
    return grey


@cache
def _colour_tables() -> tuple[Floats, NDArray[np.int64]]:
    from skimage.color import rgb2hsv, rgb2lab

    levels = (np.arange(32) + 0.5) / 32
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    hue, saturation, value = np.moveaxis(rgb2hsv(rgb)[:, 0], -1, 0)
    grey = (saturation < GREY_BELOW) | (value < BLACK_BELOW)
    joint = (_bin(hue, HUES) * SATURATIONS + _bin(saturation, SATURATIONS)) * VALUES + _bin(value, VALUES)
    bins = np.where(grey, HUES * SATURATIONS * VALUES + _bin(value, GREYS), joint)
    return rgb2lab(rgb)[:, 0].astype(np.float32), bins


def _bin(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.minimum((values * count).astype(np.int64), count - 1)


@cache
def _cells(side: int, grid: int) -> NDArray[np.int64]:
    """(S, S) the cell of each pixel, 0 .. grid * grid - 1."""
    line = np.arange(side) * grid // side
    cells: NDArray[np.int64] = line[:, None] * grid + line
    return cells


def _histograms(bins: NDArray[np.int64], count: int, grid: int) -> Floats:
    """(grid * grid * count,) square roots of the shares of each bin in each cell."""
    cells = _cells(bins.shape[0], grid)
    counts = np.bincount((cells * count + bins).ravel(), minlength=grid * grid * count).reshape(-1, count)
    roots: Floats = np.sqrt(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return roots.ravel()


def _moments(lab: Floats, grid: int) -> Floats:
    """(grid * grid * 9,) mean, standard deviation and signed cube root of the third moment, per cell and channel."""
    step = lab.shape[0] // grid
    cells = lab[: grid * step, : grid * step].reshape(grid, step, grid, step, 3).transpose(0, 2, 4, 1, 3)
    pixels = np.ascontiguousarray(cells, dtype=np.float64).reshape(grid, grid, 3, step * step)
    mean = pixels.mean(axis=-1)
    off = pixels - mean[..., None]
    squares = off * off
    spread, skew = np.sqrt(squares.mean(axis=-1)), np.cbrt((squares * off).mean(axis=-1))
    moments = np.concatenate([mean, spread, skew], axis=-1)  # (grid, grid, 9)
    return moments.ravel().astype(np.float32)


def _edges(grey: Picture) -> Floats:
    from skimage.feature import hog

    cell = grey.shape[0] // 6
    found = hog(grey, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2), transform_sqrt=True)
    return np.asarray(found, dtype=np.float32)


def _texture(grey: Picture, radius: int) -> Floats:
    """Neighbours lie on a square ring of whole pixels: several times faster than interpolating on a circle."""
    inner = grey[radius:-radius, radius:-radius]
    side = inner.shape[0]
    codes = np.zeros(inner.shape, np.uint8)
    for bit, (down, right) in enumerate(RING):
        top, left = radius * (1 + down), radius * (1 + right)
        codes |= (grey[top : top + side, left : left + side] >= inner).view(np.uint8) << np.uint8(bit)
    return _histograms(_pattern_table().take(codes), PATTERNS, 2)


@cache
def _pattern_table() -> NDArray[np.int64]:
    """(256,) the class of each code: uniform ones, with at most two changes around the ring, apart; the rest as one."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.asarray(np.where(uniform, np.cumsum(uniform) - 1, PATTERNS - 1), dtype=np.int64)
