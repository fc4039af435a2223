"""Pictures for a page: small, of one format, and re-encoded, so that no byte of a foreign file reaches the page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # pixels


def thumbnail(data: bytes | None) -> bytes | None:
    """A JPEG of at most 128 pixels a side; None where `data` is no picture that can be read. Idempotent."""
    if not data:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            small = image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= SIDE and not image.getexif()
            return data if small else _encoded(image)
    except Exception:  # a decoder may raise anything on a damaged file, and a report does without the picture
        return None


def _encoded(image: Image) -> bytes:
    from PIL import Image as Images
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image).convert("RGBA")
    upright.thumbnail((SIDE, SIDE))
    paper = Images.new("RGB", upright.size, "white")
    paper.paste(upright, mask=upright.getchannel("A"))
    out = io.BytesIO()
    paper.save(out, "JPEG", quality=82)
    return out.getvalue()
