"""A picture as a few numbers that survive scaling and compression: a difference hash and a tiny thumbnail.

The difference hash (dHash) has one bit per pair of horizontal neighbours in an 8 x 9 grid of mean brightness: whether
it rises. Decoding is that of the encoders, with its limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.decode import UnreadableError, read_picture

ROWS, COLUMNS = 8, 9
SIDE = 72  # pixels: a multiple of both, so that every cell is a whole number of pixels
MAX_PIXELS = 50_000_000
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)

Thumbnail = NDArray[np.uint8]  # (8, 9, 3)


def fingerprint(content: bytes) -> tuple[np.uint64, Thumbnail] | None:
    """(64 bits, thumbnail) of a picture file; None where it cannot be read, whatever the bytes are."""
    try:
        picture = read_picture(content, SIDE, MAX_PIXELS)
    except UnreadableError:
        return None
    cells = picture.reshape(ROWS, SIDE // ROWS, COLUMNS, SIDE // COLUMNS, 3).mean((1, 3))  # (8, 9, 3)
    bright = np.round(cells @ np.array(BRIGHTNESS), 3)
    bits = np.packbits((bright[:, 1:] > bright[:, :-1]).ravel())
    return np.uint64(int.from_bytes(bits.tobytes(), "big")), np.round(cells).astype(np.uint8)
