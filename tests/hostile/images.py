"""Pictures as bytes: good ones of every kind, broken ones, and small files that claim to be huge."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from random import Random

from PIL import Image


def saved(random: Random, mode: str, kind: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    """A picture of noise; palette and CMYK come by conversion."""
    image = Image.frombytes("RGB", size, random.randbytes(3 * size[0] * size[1]))
    if mode == "I;16":
        image = Image.frombytes(mode, size, random.randbytes(2 * size[0] * size[1]))
    elif mode == "F":
        image = image.convert("L").convert("F")
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _animated(random: Random) -> bytes:
    frames = [Image.frombytes("P", (20, 20), random.randbytes(400)) for _ in range(5)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], loop=0)
    return file.getvalue()


def _turned(random: Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = random.randrange(0, 12)
    return saved(random, "RGB", "JPEG", exif=exif)


Maker = Callable[[Random], bytes]
GOOD: tuple[Maker, ...] = (
    lambda r: saved(r, "RGB", "PNG"),
    lambda r: saved(r, "RGB", "JPEG", quality=r.choice([1, 50, 95]), progressive=r.random() < 0.5),
    lambda r: saved(r, "CMYK", "JPEG"),
    lambda r: saved(r, "L", "JPEG"),
    lambda r: saved(r, "I;16", "PNG"),
    lambda r: saved(r, "1", "PNG"),
    lambda r: saved(r, "P", "PNG", transparency=r.randrange(256)),
    lambda r: saved(r, "LA", "PNG"),
    lambda r: saved(r, "RGBA", "WEBP", lossless=True),
    lambda r: saved(r, "P", "GIF"),
    lambda r: saved(r, "RGB", "BMP"),
    lambda r: saved(r, "F", "TIFF"),
    lambda r: saved(r, "RGB", "TIFF", compression="tiff_lzw"),
    lambda r: saved(r, "RGB", "PNG", (1, 1)),
    lambda r: saved(r, "L", "PNG", (1, 5000)),
    lambda r: saved(r, "L", "PNG", (5000, 1)),
    _animated,
    _turned,
)


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"", chunks: bytes = b"") -> bytes:
    """What the header claims need not be what the data holds."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunks + _chunk(b"IDAT", data or zlib.compress(b"\0" * 99)) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def zeros(count: int) -> bytes:
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(count >> 20)) + packer.flush()


HUGE: tuple[Maker, ...] = (
    lambda r: png(20_000, 20_000, r.choice([8, 16]), r.choice([0, 2, 6])),
    lambda r: png(20_000, 20_000, 1, 0, zeros(2501 * 20_000 + (1 << 20))),
    lambda r: png(2**31 - 1, 2**31 - 1),
    lambda r: png(2**31 - 1, 1),
    lambda r: png(1, 2**31 - 1),
    lambda r: png(0, 0),
    lambda r: png(40, 40, 8, 2, chunks=_chunk(b"zTXt", b"k\0\0" + zeros(200 << 20))),
    lambda r: png(40, 40, 8, 2, chunks=_chunk(b"iCCP", b"k\0\0" + zeros(100 << 20))),
    lambda r: (
        b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0)
        + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
    ),
    lambda r: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99)
    ),
    lambda r: _resized_jpeg(r, 65_500, 65_500, progressive=True),
    lambda r: _resized_jpeg(r, 20_000, 20_000, progressive=False),
    lambda r: (
        b"II*\0\x08\0\0\0\x04\0"
        + b"".join(struct.pack("<HHII", t, 4, 1, 50_000) for t in (256, 257, 273, 278))
        + bytes(4)
    ),
)
"""Pictures that are larger than they look; they may be left out, but never take the memory they claim."""


def _resized_jpeg(random: Random, width: int, height: int, *, progressive: bool) -> bytes:
    content = saved(random, "RGB", "JPEG", progressive=progressive)
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


BAD: tuple[Maker, ...] = (
    lambda r: b"",
    lambda r: b"\0",
    lambda r: r.randbytes(300),
    lambda r: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    lambda r: b"\xff\xd8\xff" + r.randbytes(50),
    lambda r: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage",
    lambda r: b"\x00\x00\x00\x1cftypavif" + r.randbytes(40),
    lambda r: b"RIFF\xff\xff\xff\xffWEBPVP8 " + r.randbytes(40),
)
