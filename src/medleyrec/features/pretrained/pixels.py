"""Bytes of a picture -> RGB in its own proportions, for a model's image processor; whatever the bytes are.

The decoder and its limits are those of `features.decode`, which gives squares; a processor that cuts a square from the
middle needs the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeVar

from medleyrec.features.decode import (
    EMPTY,
    LARGE,
    UnreadableError,
    check_size,
    cores,
    eight_bits,
    one_large,
    opened,
    silent,
    upright,
)

R = TypeVar("R")
LONGEST = 20
"""A longer strip is cut at both ends: scaled to a model's height it would fill the memory."""


def read_upright(content: bytes, side: int, max_pixels: int) -> Any:
    """A Pillow image, RGB, upright, on white; large ones come scaled down to about twice `side` (pixels).

    Raises UnreadableError and nothing else.
    """
    if not content:
        raise UnreadableError(EMPTY)
    image = opened(content, max_pixels)
    try:
        check_size(image, max_pixels)
        image.draft(None, (2 * side, 2 * side))  # JPEG only: at least this size
        with one_large if image.width * image.height > LARGE else nullcontext():
            found = _on_white(_reduced(_strip(eight_bits(image)), 2 * side))
            found = upright(image, found)
            image.close()
            return found
    except UnreadableError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        cut = "truncated" in str(error).lower()
        raise UnreadableError(f"{'truncated' if cut else 'broken'} {image.format}") from None


def ahead(contents: Sequence[bytes], size: int, work: Callable[[bytes], R]) -> Iterator[list[R]]:
    """`work` on each content in threads, `size` at a time; the next ones are worked on while the caller has these."""
    with silent(), ThreadPoolExecutor(cores()) as pool:
        waiting: list[Future[R]] = []
        for start in range(0, len(contents), size):
            coming = [pool.submit(work, content) for content in contents[start : start + size]]
            if waiting:
                yield [job.result() for job in waiting]
            waiting = coming
        if waiting:
            yield [job.result() for job in waiting]


def _strip(image: Any) -> Any:
    most = LONGEST * min(image.size)
    if max(image.size) <= most:
        return image
    width, height = min(image.width, most), min(image.height, most)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _reduced(image: Any, least: int) -> Any:
    """Large pictures scaled until the shorter side is `least` pixels; others as they are."""
    if image.width * image.height <= LARGE or min(image.size) <= least:
        return image
    from PIL import Image

    scale = least / min(image.size)
    image = image if image.mode in ("RGB", "RGBA", "L") else image.convert(_mode(image))
    size = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _mode(image: Any) -> str:
    return "RGBA" if image.has_transparency_data else "RGB"


def _on_white(image: Any) -> Any:
    from PIL import Image

    if _mode(image) == "RGB":
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
