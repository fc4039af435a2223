"""A picture as it is sent: decoded safely, made small, JPEG, whatever it was."""

from __future__ import annotations

import base64
from io import BytesIO

from medleyrec.features.decode import read_picture, silent

MAX_PIXELS = 50_000_000
QUALITY = 90


def small_jpeg(content: bytes, side: int) -> bytes:
    """(side x side) pixels, upright, on white. Raises features.decode.UnreadableError."""
    from PIL import Image

    with silent():
        pixels = read_picture(content, side, MAX_PIXELS)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
