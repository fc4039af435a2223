"""What small square pictures look like, in numbers: colour, edges, texture.

Letters:  n pictures   S side of the square, pixels   G cells in a row   B bins

Histograms sum to 1 per cell and are square-rooted (Hellinger), so that Euclidean distance suits them. Edges are
histograms of oriented gradients (Dalal & Triggs, 2005), texture is uniform local binary patterns (Ojala et al., 2002).

Several pictures are described by the same few calls of numpy: threads then work side by side instead of waiting for
the interpreter. No number of a picture depends on its neighbours.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.decode import Picture

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bins = NDArray[np.int64]

HUES, SATURATIONS, VALUES = 8, 3, 3
GREYS = 6
GREY_BELOW, BLACK_BELOW = 0.12, 0.12
"""Saturation and value (0..1) under which hue means nothing."""
COLOURS = HUES * SATURATIONS * VALUES + GREYS
DIRECTIONS, EDGE_CELLS, CLIP, SMALL = 9, 6, 0.2, 1e-5
"""Of gradients, over half a turn; in rows and columns; of a block's values (L2-Hys); what keeps a norm off zero."""
PATTERNS = 59  # uniform patterns of 8 neighbours, direction kept
RADII = (1, 3)  # pixels
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # down, right; in order around


def describe(pictures: Picture) -> dict[str, Floats]:
    """The blocks of descriptors of (n, S, S, 3) pictures; each is (n, its fixed length)."""
    red, green, blue = (np.ascontiguousarray(pictures[..., channel]) for channel in range(3))  # each (n, S, S)
    codes = (red >> 3).astype(np.int64) << 10 | (green >> 3).astype(np.int64) << 5 | blue >> 3
    halves = _counts(_colour_tables()[1].take(codes), COLOURS, 2)  # (n, 4, B)
    grey = _grey(red, green, blue)
    return {
        "colour": np.concatenate([_roots(halves.sum(axis=1, keepdims=True)), _roots(halves)], axis=1),
        "moments": _moments(codes, 3),
        "edges": _edges(grey),
        "texture": np.concatenate([_texture(grey, radius) for radius in RADII], axis=1),
    }


def _grey(red: Picture, green: Picture, blue: Picture) -> Picture:
    """(n, S, S), Rec. 601."""
    sums = red * np.int32(299) + green * np.int32(587) + blue * np.int32(114)
    grey: Picture = (sums // 1000).astype(np.uint8)
    return grey


@cache
def _colour_tables() -> tuple[Doubles, Bins]:
    """CIELAB (3, 32768), in single precision, and the joint HSV bin (32768,) of colours of 5 bits per channel."""
    from skimage.color import rgb2hsv, rgb2lab

    levels = (np.arange(32) + 0.5) / 32
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    hue, saturation, value = np.moveaxis(rgb2hsv(rgb)[:, 0], -1, 0)
    grey = (saturation < GREY_BELOW) | (value < BLACK_BELOW)
    joint = (_bin(hue, HUES) * SATURATIONS + _bin(saturation, SATURATIONS)) * VALUES + _bin(value, VALUES)
    bins = np.where(grey, HUES * SATURATIONS * VALUES + _bin(value, GREYS), joint)
    lab = rgb2lab(rgb)[:, 0].astype(np.float32).astype(np.float64)
    return np.ascontiguousarray(lab.T), bins


def _bin(values: Doubles, count: int) -> Bins:
    return np.minimum((values * count).astype(np.int64), count - 1)


@cache
def _cells(side: int, grid: int) -> Bins:
    """(S, S) the cell of each pixel, 0 .. G * G - 1."""
    line = np.arange(side) * grid // side
    cells: Bins = line[:, None] * grid + line
    return cells


def _counts(bins: NDArray[np.integer], count: int, grid: int, weights: Doubles | None = None) -> NDArray[np.number]:
    """(n, S, S) bins -> (n, G * G, B): how many pixels of each cell, or their weights, added in their order."""
    pictures = len(bins)
    cells = _cells(bins.shape[-1], grid) + grid * grid * np.arange(pictures)[:, None, None]
    places = (cells * count + bins).ravel()
    added = np.bincount(places, None if weights is None else weights.ravel(), pictures * grid * grid * count)
    return added.reshape(pictures, grid * grid, count)


def _roots(counts: NDArray[np.number]) -> Floats:
    """(n, cells, B) -> (n, cells * B) square roots of the shares of each bin in each cell."""
    roots: Floats = np.sqrt(counts / counts.sum(axis=-1, keepdims=True)).astype(np.float32)
    return roots.reshape(len(counts), -1)


def _moments(codes: Bins, grid: int) -> Floats:
    """(n, G * G * 9) mean, standard deviation and signed cube root of the third moment, per cell and CIELAB channel."""
    pictures, side, _ = codes.shape
    step = side // grid
    cells = codes[:, : grid * step, : grid * step].reshape(pictures, grid, step, grid, step).transpose(0, 1, 3, 2, 4)
    cells = cells.reshape(pictures, grid, grid, step * step)
    moments = np.empty((pictures, grid, grid, 3, 3))  # n, G, G, moment, channel
    for channel, values in enumerate(_colour_tables()[0]):
        off = values.take(cells)
        mean = off.mean(axis=-1)
        off -= mean[..., None]
        powers = off * off
        spread = np.sqrt(powers.mean(axis=-1))
        powers *= off
        moments[..., channel] = np.stack([mean, spread, np.cbrt(powers.mean(axis=-1))], axis=-1)
    return moments.reshape(pictures, -1).astype(np.float32)


def _edges(grey: Picture) -> Floats:
    """(n, 900) gradients of square roots by direction, in 6 x 6 cells, normalised in 5 x 5 blocks of 2 x 2 of them."""
    roots = np.sqrt(np.arange(256.0)).take(grey)
    down, right = np.zeros_like(roots), np.zeros_like(roots)
    down[:, 1:-1] = roots[:, 2:] - roots[:, :-2]
    right[..., 1:-1] = roots[..., 2:] - roots[..., :-2]
    size = np.sqrt(down * down + right * right)
    np.negative(right, out=right, where=down < 0)
    np.abs(down, out=down)
    # A direction of 20 k degrees or more, of less than half a turn: right <= down / tan. None is equal but along a row.
    direction, bound = np.zeros(grey.shape, np.uint8), np.empty_like(down)
    for angle in np.pi / DIRECTIONS * np.arange(1, DIRECTIONS):
        direction += (right <= np.multiply(down, 1 / np.tan(angle), out=bound)).view(np.uint8)
    direction[down == 0] = 0
    shape = (len(grey), EDGE_CELLS, EDGE_CELLS, DIRECTIONS)
    pixels = (grey.shape[-1] // EDGE_CELLS) ** 2
    cells = _counts(direction, DIRECTIONS, EDGE_CELLS, size).reshape(shape) / pixels
    corners = [cells[:, i : i + EDGE_CELLS - 1, j : j + EDGE_CELLS - 1] for i in (0, 1) for j in (0, 1)]
    blocks = np.concatenate(corners, axis=-1)  # (n, 5, 5, 36)
    blocks = np.minimum(blocks / _norms(blocks), CLIP)
    found: Floats = (blocks / _norms(blocks)).astype(np.float32)
    return found.reshape(len(grey), -1)


def _norms(blocks: Doubles) -> Doubles:
    norms: Doubles = np.sqrt(np.square(blocks).sum(axis=-1, keepdims=True) + SMALL**2)
    return norms


def _texture(grey: Picture, radius: int) -> Floats:
    """Neighbours lie on a square ring of whole pixels: several times faster than interpolating on a circle."""
    side = grey.shape[-1]
    flat = grey.ravel()
    edge = radius * (side + 1)  # neighbours of the first and the last inner pixel are this far away
    middle = flat[edge : len(flat) - edge]
    codes = np.zeros(grey.shape, np.uint8)
    inner = codes.reshape(-1)[edge : len(flat) - edge]
    for bit, (down, right) in enumerate(RING):
        there = edge + radius * (down * side + right)
        inner |= (flat[there : there + len(middle)] >= middle).view(np.uint8) << np.uint8(bit)
    codes = codes[:, radius:-radius, radius:-radius]
    return _roots(_counts(codes, 256, 2) @ _pattern_table())


@cache
def _pattern_table() -> Doubles:
    """(256, 59), 1 at the class: uniform codes, with at most two changes around the ring, apart; the rest as one."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    classes = np.where(uniform, np.cumsum(uniform) - 1, PATTERNS - 1)
    return np.eye(PATTERNS)[classes]
