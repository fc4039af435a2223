"""Items that look the same: equal bytes, or pictures that differ in size, compression and little else.

Letters:  n pictures

Two pictures are near-equal where at most FAR of the 64 bits of their difference hashes differ AND their thumbnails do
so by at most SHADE of 255 on average: of posters scaled by half or stored at JPEG quality 30, 97 % stay within both,
while no two of 3,600 different posters do. By the pigeonhole principle a pair within FAR bits shares one of the bands
of 8 bits; inside a band pictures are sorted by colour, so that such a pair stands side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medleyrec.dataset.audit.neighbours import near_groups
from medleyrec.schema import Int64s, Mask

FAR = 7  # bits of 64; different pictures differ in about 32
SHADE = 10.0  # of 255; plain pictures of different colours have equal hashes, and differ here
BANDS = 8  # of 8 bits: one more than FAR


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Pictures as their fingerprints, in the order of `rows`."""

    rows: Int64s  # (n,) item rows
    contents: tuple[str, ...]  # (n,) hash of the bytes
    readable: Mask  # (n,) whether the bytes are a picture
    hashes: NDArray[np.uint64]  # (n,) difference hash, 0 where it cannot be read
    thumbnails: NDArray[np.uint8]  # (n, 8, 9, 3)
    of: int = 0
    """Items that may have a picture, where only a sample was looked at; 0: all were."""

    def __len__(self) -> int:
        return len(self.rows)


def near_pictures(looks: Looks) -> Int64s:
    """(n,) group of each picture; one that cannot be read is alone."""
    groups = np.arange(len(looks))
    good = np.flatnonzero(looks.readable)
    hashes, thumbnails = looks.hashes[good], looks.thumbnails[good]
    shades = thumbnails.reshape(len(good), -1).astype(np.int16)

    def alike(a: Int64s, b: Int64s) -> Mask:
        near: Mask = np.bitwise_count(hashes[a] ^ hashes[b]) <= FAR
        near[near] = np.abs(shades[a[near]] - shades[b[near]]).mean(1) <= SHADE
        return near

    bands = hashes.astype(">u8").view(np.uint8).reshape(-1, BANDS)
    colours = shades.reshape(len(good), 72, 3).mean(1)  # (n, 3)
    groups[good] = good[near_groups(bands, alike, order_by=tuple(colours.round().T))]
    return groups
