"""How many tokens a call takes, before it is made; learnt from the answers that are there.

A token is taken for four ASCII characters, or for one other character; a picture for squares of 28 pixels, as
Qwen2-VL counts them. Once enough answers told their counts, their means take the place of the guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from medleyrec.features.describe.log import Stored

PATCH, FRAME = 28, 16
"""Pixels of a square; tokens that a chat adds to its texts."""
ENOUGH = 20


def text_tokens(text: str) -> int:
    ascii_characters = sum(c.isascii() for c in text)
    return math.ceil(ascii_characters / 4) + len(text) - ascii_characters


def call_tokens(texts: Iterable[str], side: int | None) -> int:
    """side: of the picture, pixels; None where there is none."""
    picture = math.ceil(side / PATCH) ** 2 if side else 0
    return FRAME + picture + sum(map(text_tokens, texts))


def amount(money: float) -> str:
    """For a reader: two decimals, or two digits of what is less than one."""
    if money >= 1 or money <= 0:
        return f"{money:,.2f}"
    return f"{money:.{1 - math.floor(math.log10(money))}f}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Mean tokens of calls that told them."""

    tokens_in: float
    tokens_out: float


def measured(answers: Iterable[Stored]) -> Measured | None:
    """None where too few told them."""
    known = [(a.tokens_in, a.tokens_out) for a in answers if a.tokens_in is not None and a.tokens_out is not None]
    if len(known) < ENOUGH:
        return None
    return Measured(*(sum(column) / len(known) for column in zip(*known, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Money per million tokens."""

    into: float = 0.0
    out: float = 0.0

    def of(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self.into + tokens_out * self.out) / 1e6
