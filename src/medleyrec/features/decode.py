"""Bytes of a picture -> a small square of RGB, whatever the bytes are.

Letters:  S side of the square, pixels

Pillow decodes. Only harmless raster formats are tried, sizes are checked before pixels are allocated, JPEG is decoded
at a fraction of its size where that is enough, and large pictures are decoded one at a time, whatever the threads.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
R = TypeVar("R")
T = TypeVar("T")

EMPTY, UNKNOWN = "empty picture", "not a picture of a known format"
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
JPEG_START = b"\xff\xd8\xff"
JPEG_SCALE = 8
"""JPEG can be decoded at an eighth of its side; so many times more pixels are allowed where that is possible."""
ORIENTATION = 0x0112
LARGE = 4_000_000
"""Pixels; a larger picture takes tens of megabytes while it is decoded, one at the limit some hundred."""
BLOCK_SIZE = 64 << 20
"""Bytes that Pillow asks for at once. Pieces as large go back to the system when they are freed; those of its default
stay with the thread that asked, and every thread would come to keep as much as its largest picture took."""
one_large = threading.Lock()
"""Held while a large picture is decoded."""


class UnreadableError(Exception):
    """This picture cannot be used; the message is the reason, the same for all pictures that fail alike."""


def read_picture(content: bytes, side: int, max_pixels: int) -> Picture:
    """(S, S, 3) uint8, upright, on white. Raises UnreadableError and nothing else."""
    if not content:
        raise UnreadableError(EMPTY)
    image = opened(content, max_pixels)
    try:
        check_size(image, max_pixels)
        image.draft(None, (2 * side, 2 * side))  # JPEG only: at least this size, never larger than needed
        with one_large if image.width * image.height > LARGE else nullcontext():
            square = upright(image, _on_white(eight_bits(image), side))
            image.close()  # its pixels go before the next large picture comes
            return np.asarray(square)
    except UnreadableError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds, struct.error and MemoryError among them
        cut = "truncated" in str(error).lower()
        raise UnreadableError(f"{'truncated' if cut else 'broken'} {image.format}") from None


def read_all(contents: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """`work` on each content or part of them, without warnings, in threads: Pillow and numpy free the interpreter."""
    with silent(), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(work, contents))


@contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cores() -> int:
    """Threads that decode at the same time."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image
    from PIL import _imaging as core

    Image.init()
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it logs goes to the terminal
    core.set_block_size(BLOCK_SIZE)
    return tuple(f for f in FORMATS if f in Image.OPEN)


def opened(content: bytes, max_pixels: int) -> Any:
    """A Pillow image whose pixels are not read yet. Raises UnreadableError where it is of no known format."""
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    formats = _formats()
    try:
        if content.startswith(JPEG_START):  # directly: Image.open refuses large pictures before they can be scaled
            return JpegImageFile(BytesIO(content))
        return Image.open(BytesIO(content), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(_too_many(max_pixels)) from None
    except Exception:
        cut = content.startswith(JPEG_START) and len(content) < 1024
        raise UnreadableError("truncated JPEG" if cut else UNKNOWN) from None


def check_size(image: Any, max_pixels: int) -> None:
    """Raises UnreadableError where decoding would take too much memory."""
    width, height = image.size
    scalable = image.format == "JPEG" and not image.info.get("progressive")
    limit = max_pixels * (JPEG_SCALE if scalable else 1)
    if width * height > limit:
        raise UnreadableError(_too_many(limit))


def _too_many(limit: int) -> str:
    return f"too many pixels (limit {limit})"


def eight_bits(image: Any) -> Any:
    """Grey pictures of 16 or 32 bits become 8 bits; others pass."""
    from PIL import Image

    if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return image
    values = np.asarray(image)
    rows = max(1, LARGE // 4 // max(image.width, 1))  # at a time: the numbers below take 8 bytes per pixel
    blocks = [slice(start, start + rows) for start in range(0, image.height, rows)]
    top = max(float(_finite(values[block]).max(initial=0)) for block in blocks)
    known = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0)
    full = next((f for f in known if top <= f), top)  # "I" and "F" do not say what white is
    grey = np.empty(values.shape, np.uint8)
    for block in blocks:
        grey[block] = np.clip(_finite(values[block]) * (255 / full), 0, 255).astype(np.uint8)
    return Image.fromarray(grey)


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64))


def _on_white(image: Any, side: int) -> Any:
    """Resized to a square; transparent parts become white."""
    from PIL import Image

    mode = "RGBA" if image.has_transparency_data else "RGB"
    image = image if image.mode == mode == "RGBA" else image.convert(mode)  # a copy would be as large again
    image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def upright(original: Any, image: Any) -> Any:
    """`image` turned as the camera's tag of `original` says; that can follow the resizing."""
    from PIL import Image

    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    try:
        tag = original.getexif().get(ORIENTATION)
    except Exception:  # a damaged tag block: the pixels are still good
        return image
    return image.transpose(turns[tag]) if tag in turns else image
