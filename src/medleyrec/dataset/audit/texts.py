"""Items that are the same by their words: equal titles, equal titles and brands, near-equal texts.

Letters:  n items   S shingles of all items, flat   H hashes of a signature   J Jaccard similarity

Near-equal texts are found by MinHash (Broder 1997) with banding: the shingles of a text are its words and its pairs of
neighbouring words; the share of equal entries of two signatures estimates the Jaccard similarity of their shingles. A
pair that it finds is checked on the shingles themselves. With BANDS x ROWS a pair of J = 0.8 is found with probability
1 - (1 - J ** ROWS) ** BANDS = 0.9998.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medleyrec.dataset.audit.neighbours import near_groups
from medleyrec.schema import Int64s, Mask

NEAR = 0.8
"""Jaccard similarity from which texts are near-equal: one word of fifteen may differ."""
FEWEST_WORDS = 4  # a shorter text that is not equal shares too little to be judged
MOST_WORDS = 64  # of a text; what follows seldom tells two items apart, and costs
BANDS, ROWS = 16, 4
HOPE = 0.65  # share of equal signature entries worth checking: J = 0.8 stays above it at three standard errors
BLOCK = 8_192  # items hashed at a time: 40 MB of hashes

Progress = Callable[[int, int], None]

_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")  # no spaces part CJK words


def words(text: str | None) -> list[str]:
    """Words without case, punctuation and typographic variants; a CJK character is a word."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold()) if text else []


def normal(text: str | None) -> str | None:
    """What two titles must share to be called equal; None where nothing is left."""
    return " ".join(words(text)) or None


@dataclass(frozen=True, slots=True, eq=False)
class Shingles:
    """Item i has the sorted, distinct hashes ``hashes[offsets[i]:offsets[i + 1]]``."""

    hashes: NDArray[np.uint32]  # (S,)
    offsets: Int64s  # (n + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> NDArray[np.uint32]:
        return self.hashes[self.offsets[item] : self.offsets[item + 1]]

    @classmethod
    def of(cls, texts: Sequence[str], progress: Progress | None = None) -> Shingles:
        parts = []
        for done, text in enumerate(texts, start=1):
            parts.append(shingles(text))
            if progress is not None and (done % BLOCK == 0 or done == len(texts)):
                progress(done, len(texts))
        offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts], dtype=np.int64)])
        return cls(np.concatenate([np.zeros(0, np.uint32), *parts]), offsets)


def shingles(text: str) -> NDArray[np.uint32]:
    found = words(text)[:MOST_WORDS]
    if len(found) < FEWEST_WORDS:
        return np.zeros(0, np.uint32)
    pairs = (f"{a} {b}" for a, b in pairwise(found))
    return np.unique(np.fromiter((zlib.crc32(s.encode()) for s in (*found, *pairs)), np.uint32))


def near_texts(sets: Shingles) -> Int64s:
    """(n,) group of each item: near-equal texts share one; a text of fewer than FEWEST_WORDS is alone."""
    groups = np.arange(len(sets))
    told = np.flatnonzero(np.diff(sets.offsets) > 0)
    if not len(told):
        return groups
    signs = np.concatenate(list(_signatures(sets, told)))  # (n, H)
    groups[told] = told[near_groups(_bands(signs), _Checked(sets, told, signs), order_by=[signs[:, 0]])]
    return groups


def _signatures(sets: Shingles, rows: Int64s) -> Iterator[NDArray[np.uint32]]:
    """(n, H) smallest value of each hash function over an item's shingles, a block of items at a time."""
    rng = np.random.default_rng(0)
    factors = rng.integers(1 << 63, size=BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(1 << 63, size=BANDS * ROWS, dtype=np.uint64)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        parts = [sets[int(i)] for i in some]
        flat = np.concatenate(parts).astype(np.uint64)
        starts = np.cumsum([0, *(len(p) for p in parts[:-1])])
        signs = np.empty((len(some), BANDS * ROWS), np.uint32)
        for h, (a, b) in enumerate(zip(factors, shifts, strict=True)):
            signs[:, h] = np.minimum.reduceat((flat * a + b) >> np.uint64(32), starts)  # multiply-shift, mod 2 ** 64
        yield signs


def _bands(signs: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """(n, BANDS) one key per ROWS entries of the signature."""
    keys = np.zeros((len(signs), BANDS), np.uint64)
    for row in range(ROWS):
        keys = (keys ^ signs[:, row::ROWS].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


class _Checked:
    """Whether texts are near-equal: first by signature, then by their shingles."""

    def __init__(self, sets: Shingles, rows: Int64s, signs: NDArray[np.uint32]) -> None:
        self.sets, self.rows, self.signs = sets, rows, signs

    def __call__(self, a: Int64s, b: Int64s) -> Mask:
        alike = np.zeros(len(a), np.bool_)
        for start in range(0, len(a), BLOCK):
            span = slice(start, start + BLOCK)
            alike[span] = (self.signs[a[span]] == self.signs[b[span]]).mean(1) >= HOPE
        for k in np.flatnonzero(alike):
            alike[k] = self._jaccard(int(self.rows[a[k]]), int(self.rows[b[k]])) >= NEAR
        return alike

    def _jaccard(self, one: int, other: int) -> float:
        a, b = self.sets[one], self.sets[other]
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared)
