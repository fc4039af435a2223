"""Texts -> vectors without a download: TF-IDF over words and word pairs, then truncated SVD.

Letters:  n texts   W vocabulary   D width

A text is UTF-8 bytes. Terms are weighted (1 + log count) x smoothed idf (Salton & Buckley, 1988), rows have norm 1,
and the right singular vectors of the fitted rows (latent semantic analysis; Deerwester et al., 1990) project any text,
seen or not, to D numbers of norm 1.
"""

from __future__ import annotations

import html
import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medleyrec.config import Config
from medleyrec.features.base import (
    Encoded,
    Progress,
    check_revision,
    load_state,
    revision_of,
    sampled,
    save_state,
    unit_rows,
)
from medleyrec.schema import TEXT, InputError
from medleyrec.storage import read_json, write_json

NO_TEXT, NO_KNOWN_WORD = "no text", "no known word"
BLOCK = 8192
EXACT = 1024
"""Up to so many texts or terms the SVD is exact, by the smaller Gram matrix."""
MANY = 32_768
"""More texts than this are never held as dense rows, so that memory does not grow with them."""
ITERATIONS, SPARE = 4, 10
"""Power iterations of the randomised SVD, and columns it carries beside those that are asked for."""
SLAB = 64
"""Columns that are multiplied at once."""
VOCABULARY_FILE = "vocabulary.json"

# A character of Chinese or Japanese script is a word of its own: these scripts put no spaces between words.
_SCRIPT = "\u3040-\u30ff\u3400-\u9fff"
WORD = rf"[{_SCRIPT}]|[^\W{_SCRIPT}]+"

TextField = Literal["title", "categories", "brand", "description", "price"]


class TextFields(Config):
    """Which columns make an item's text, in this order."""

    fields: tuple[TextField, ...] = ("title", "categories", "brand", "description")


DEFAULT_FIELDS = TextFields()


def item_text(
    title: str | None,
    description: str | None = None,
    categories: Sequence[Sequence[str]] | None = None,
    brand: str | None = None,
    price: float | None = None,
    *,
    use: TextFields = DEFAULT_FIELDS,
) -> str:
    """An item's text, one line per field; absent fields are left out. Of the categories, the first path counts."""
    parts = {
        "title": _plain(title),
        "categories": ", ".join(filter(None, map(_plain, categories[0]))) if categories and categories[0] else "",
        "brand": _plain(brand),
        "description": _plain(description),
        "price": "" if price is None else f"{price:g}",
    }
    return "\n".join(parts[name] for name in use.fields if parts[name])


def _plain(text: str | None) -> str:
    """Shops' texts carry HTML: entities are resolved, tags dropped, white space collapsed."""
    if not text:
        return ""
    return " ".join(re.sub(r"</?[a-zA-Z][^<>]*>", " ", html.unescape(text)).split())


class TfidfConfig(Config):
    """min_count is the number of texts that a term must occur in; by default 1 for small catalogues, else 2."""

    width: int = Field(default=256, ge=1, le=4096)
    max_vocabulary: int = Field(default=30_000, ge=1)
    min_count: int | None = Field(default=None, ge=1)
    fit_sample: int = Field(default=100_000, ge=1)
    """At most so many texts, evenly spread, are fitted on; all are encoded."""
    seed: int = Field(default=0, ge=0)


class TfidfEncoder:
    """TF-IDF of words and word pairs, projected to at most `config.width` numbers."""

    name: ClassVar[str] = "tfidf-svd"
    modality: ClassVar[str] = TEXT
    settings: ClassVar[type[Config]] = TfidfConfig

    def __init__(self, config: TfidfConfig, vocabulary: Sequence[str], arrays: dict[str, NDArray[Any]]) -> None:
        self.config, self.vocabulary = config, tuple(vocabulary)
        self.idf, self.components = arrays["idf"], arrays["components"]  # (W,), (W, D), both float32

    def __repr__(self) -> str:
        return f"TfidfEncoder({len(self.vocabulary)} terms -> {self.width})"

    @property
    def width(self) -> int:
        return int(self.components.shape[1])

    @cached_property
    def revision(self) -> str:
        arrays = {"idf": self.idf, "components": self.components}
        return revision_of(self.name, self.config.model_dump(), arrays, self.vocabulary)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: i for i, term in enumerate(self.vocabulary)}

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        vectors = np.zeros((len(contents), self.width), np.float32)
        reasons: list[str | None] = []
        for start in range(0, len(contents), BLOCK):
            texts = [_text(c) for c in contents[start : start + BLOCK]]
            counts = _known_counts(texts, self._columns)  # (n, W) sparse
            known = np.diff(counts.indptr) > 0
            vectors[start : start + len(texts)] = unit_rows(_weighted(counts, self.idf) @ self.components)  # (n, D)
            reasons += [_reason(text, bool(k)) for text, k in zip(texts, known, strict=True)]
        return Encoded(vectors, tuple(reasons))

    @classmethod
    def fit(
        cls,
        contents: Sequence[bytes | None],
        config: TfidfConfig | None = None,
        *,
        progress: Progress | None = None,
    ) -> Self:
        """Raises InputError where no text holds a word."""
        config = config or TfidfConfig()
        vocabulary, counts = _counted(sampled(contents, config.fit_sample, progress), len(contents), config)
        present = np.bincount(counts.indices, minlength=counts.shape[1])  # (W,) texts that hold the term
        idf = (np.log((1 + counts.shape[0]) / (1 + present)) + 1).astype(np.float32)
        components = _right_singular(_weighted(counts, idf.astype(np.float64)), config.width, config.seed)
        return cls(config, vocabulary, {"idf": idf, "components": components.astype(np.float32)})

    def save(self, folder: Path) -> None:
        facts = {"name": self.name, "revision": self.revision, "config": self.config.model_dump()}
        save_state(folder, facts, {"idf": self.idf, "components": self.components})
        write_json(folder / VOCABULARY_FILE, list(self.vocabulary))

    @classmethod
    def load(cls, folder: Path) -> Self:
        facts, arrays = load_state(folder, cls.name)
        encoder = cls(TfidfConfig(**facts["config"]), read_json(folder / VOCABULARY_FILE), arrays)
        check_revision(folder, facts, encoder.revision)
        return encoder


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _reason(text: str, known: bool) -> str | None:
    if not text.strip():
        return NO_TEXT
    return None if known else NO_KNOWN_WORD


def _counter(**options: Any) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(
        preprocessor=_normalised, token_pattern=WORD, ngram_range=(1, 2), dtype=np.float32, **options
    )


def _counted(texts: Any, total: int, config: TfidfConfig) -> tuple[list[str], Any]:
    """The vocabulary and the term counts (n, W). Where no term is frequent enough, every term counts."""
    least = config.min_count or (1 if total < 200 else 2)
    kept = [text for text in map(_text, texts) if text.strip()]
    for min_df in sorted({least, 1}, reverse=True):
        counter = _counter(min_df=min(min_df, max(1, len(kept))), max_features=config.max_vocabulary)
        try:
            counts = counter.fit_transform(kept)
        except ValueError:  # scikit-learn: the vocabulary is empty
            continue
        return counter.get_feature_names_out().tolist(), counts
    raise InputError(f"none of the {total} items has a text with a word in it; encode without the text features")


def _known_counts(texts: Sequence[str], columns_of: Mapping[str, int]) -> Any:
    """The term counts (n, W) of a vocabulary that is fixed, columns in order.

    They are those of scikit-learn's counter, which raises an exception for every term that its vocabulary lacks: most
    word pairs of a shop.
    """
    from scipy.sparse import csr_matrix

    words_of, columns, ends = re.compile(WORD).findall, array("i"), [0]
    for text in texts:
        words = words_of(_normalised(text))
        columns.extend(map(columns_of.get, chain(words, map(" ".join, pairwise(words))), repeat(-1)))
        ends.append(len(columns))
    found = np.array(columns, np.int32)
    known = found >= 0
    owner = np.repeat(np.arange(len(texts)), np.diff(ends))[known]
    return csr_matrix((np.ones(len(owner), np.float32), (owner, found[known])), shape=(len(texts), len(columns_of)))


def _weighted(counts: Any, idf: NDArray[Any]) -> Any:
    """(n, W) counts -> TF-IDF rows of norm 1, in the precision of `idf`."""
    weighted = counts.astype(idf.dtype)
    weighted.data = (1 + np.log(weighted.data)) * idf[weighted.indices]
    lengths = np.diff(weighted.indptr)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    norms = np.sqrt(np.bincount(owner, weights=np.square(weighted.data, dtype=np.float64), minlength=len(lengths)))
    weighted.data /= norms[owner].astype(idf.dtype)
    return weighted


def _right_singular(rows: Any, width: int, seed: int) -> NDArray[np.float64]:
    """(n, W) float64 -> (W, D), D = min(width, W - 1, n - 1, rank), at least 1; each column's peak is positive."""
    from sklearn.utils.extmath import randomized_svd

    width = max(1, min(width, min(rows.shape) - 1))
    if min(rows.shape) <= EXACT:
        vectors = _exact(rows, width)
    elif rows.shape[0] > MANY:
        vectors = _by_blocks(rows, width, seed)
    else:  # in float64, so that the number of threads changes nothing that float32 sees
        vectors = randomized_svd(rows, width, n_oversamples=SPARE, n_iter=ITERATIONS, random_state=seed)[2].T
    peaks = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[peaks, np.arange(vectors.shape[1])])  # type: ignore[no-any-return]


def _exact(rows: Any, width: int) -> NDArray[np.float64]:
    tall = rows.shape[0] > rows.shape[1]
    gram = np.asarray((rows.T @ rows if tall else rows @ rows.T).todense())
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
    keep = values > 1e-10 * values[0]
    values, vectors = values[keep], vectors[:, keep]
    return vectors if tall else np.asarray(rows.T @ vectors) / np.sqrt(values)


def _by_blocks(rows: Any, width: int, seed: int) -> NDArray[np.float64]:
    """The same by subspace iteration on the terms' Gram matrix, which is never formed (Halko et al., 2011, 4.5).

    Beside the sparse rows it holds two matrices of W x D, and products of some texts with some columns.
    """
    from scipy.linalg import qr

    columns = min(width + SPARE, rows.shape[1])
    basis = np.random.default_rng(seed).standard_normal((rows.shape[1], columns))
    for _ in range(ITERATIONS + 1):
        basis = qr(_gram_times(rows, basis), mode="economic", overwrite_a=True, check_finite=False)[0]
    values, turned = np.linalg.eigh(basis.T @ _gram_times(rows, basis))
    values, turned = values[::-1][:width], turned[:, ::-1][:, :width]
    vectors: NDArray[np.float64] = basis @ turned[:, values > 1e-10 * values[0]]
    return vectors


def _gram_times(rows: Any, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """rows' rows vectors, (W, D), in the order of columns that LAPACK overwrites."""
    product = np.zeros(vectors.shape, order="F")
    for start in range(0, rows.shape[0], BLOCK):
        block = rows[start : start + BLOCK]
        for first in range(0, vectors.shape[1], SLAB):
            slab = slice(first, first + SLAB)
            product[:, slab] += block.T @ (block @ np.ascontiguousarray(vectors[:, slab]))
    return product
