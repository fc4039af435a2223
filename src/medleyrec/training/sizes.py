"""Sizes in bytes as people write and read them: 1 GB is 10^9 bytes, 1 GiB 2^30."""

from __future__ import annotations

import re
from decimal import Decimal

MOST = 1 << 60
AUTO = "auto"
"""Instead of a size: what there is."""
UNITS = {"B": 1} | {f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}
UNITS |= {f"{letter}IB": 1024**n for n, letter in enumerate("KMGT", 1)}


def parse_bytes(text: str) -> int:
    """ "4GB" -> 4_000_000_000. Raises ValueError where the text is no size with a unit, of a byte to `MOST`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    size = Decimal(found[1]) * UNITS.get(found[2].upper(), 0) if found else Decimal(0)
    if not 1 <= size <= MOST:
        raise ValueError("write a size with its unit, such as 4GB or 512MiB, or auto for what is available")
    return int(size)


def told_bytes(size: float) -> str:
    """For a reader: "3.2 GB", "640 MB", "12.5 kB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale * 0.9995:
            return f"{size / scale:.3g} {unit}" if size < 999.5 * scale else f"{size / scale:,.0f} {unit}"
    return f"{size:.0f} bytes"
