"""Pictures -> vectors without a download: descriptors of colour, edges and texture, then PCA.

Letters:  n pictures   M descriptors   D width

Every block of descriptors is centred and scaled to a total variance of 1, so that none drowns the others; the principal
components of the fitted pictures project any picture, seen or not, to D numbers of norm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medleyrec.config import Config
from medleyrec.features.base import (
    Encoded,
    Progress,
    Vectors,
    check_revision,
    load_state,
    revision_of,
    sampled,
    save_state,
    unit_rows,
)
from medleyrec.features.decode import Picture, UnreadableError, cores, read_all, read_picture
from medleyrec.features.descriptors import describe
from medleyrec.schema import PICTURE, InputError

BLOCK = 256
TOGETHER = 32
"""Pictures that are described at once, at most: enough for threads not to wait for each other."""
KEPT = 16 * 2**20  # bytes
FADING = 1e-7
"""Components with less than this share of the largest variance are rounding noise."""
DESCRIPTION = 2
"""Raised when `describe` or `read_picture` change what they return, so that stored vectors are not mixed."""


class DescriptorConfig(Config):
    """side is in pixels; max_pixels bounds what is decoded: a JPEG that is scaled on the fly may have 8 times more."""

    width: int = Field(default=256, ge=1, le=2048)
    side: int = Field(default=96, ge=24, le=512, multiple_of=6)
    max_pixels: int = Field(default=50_000_000, ge=1, le=89_000_000)
    fit_sample: int = Field(default=4096, ge=1)
    """At most so many pictures, evenly spread, are fitted on; all are encoded."""


class DescriptorEncoder:
    """Colour, edge and texture descriptors, projected to at most `config.width` numbers."""

    name: ClassVar[str] = "descriptors"
    modality: ClassVar[str] = PICTURE
    settings: ClassVar[type[Config]] = DescriptorConfig

    def __init__(self, config: DescriptorConfig, arrays: dict[str, NDArray[Any]]) -> None:
        self.config = config
        self.mean, self.components = arrays["mean"], arrays["components"]  # (M,), (D, M), both float32

    def __repr__(self) -> str:
        return f"DescriptorEncoder({len(self.mean)} descriptors -> {self.width})"

    @property
    def width(self) -> int:
        return int(self.components.shape[0])

    @cached_property
    def revision(self) -> str:
        arrays = {"mean": self.mean, "components": self.components}
        return revision_of(self.name, {**self.config.model_dump(), "description": DESCRIPTION}, arrays)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        described = _described(contents, self.config)
        vectors = np.zeros((len(contents), self.width), np.float32)
        for row, found in enumerate(described):
            if not isinstance(found, str):  # one product per picture: in a matrix, neighbours would change the rounding
                vectors[row] = self.components @ (found - self.mean)
        return Encoded(unit_rows(vectors), tuple(f if isinstance(f, str) else None for f in described))

    @classmethod
    def fit(
        cls,
        contents: Sequence[bytes | None],
        config: DescriptorConfig | None = None,
        *,
        progress: Progress | None = None,
    ) -> Self:
        """Raises InputError where no picture can be read."""
        config = config or DescriptorConfig()
        blocks = _readable(contents, config, progress)
        if not blocks:
            raise InputError(
                f"none of the {len(contents)} items has a readable picture; encode without the image features"
            )
        rows = np.concatenate(blocks)  # (n, M)
        mean = rows.mean(axis=0, dtype=np.float64)
        scale = _block_scales(rows - mean, config)
        components = _principal((rows - mean) * scale, config.width) * scale
        return cls(config, {"mean": mean.astype(np.float32), "components": components.astype(np.float32)})

    def save(self, folder: Path) -> None:
        facts = {"name": self.name, "revision": self.revision, "config": self.config.model_dump()}
        save_state(folder, facts | {"description": DESCRIPTION}, {"mean": self.mean, "components": self.components})

    @classmethod
    def load(cls, folder: Path) -> Self:
        facts, arrays = load_state(folder, cls.name)
        if facts.get("description") != DESCRIPTION:
            raise InputError(
                f"{folder} was fitted to descriptors of pictures as another version of Medley made them; "
                "run `medley encode --refit-encoders`, then train again"
            )
        encoder = cls(DescriptorConfig(**facts["config"]), arrays)
        check_revision(folder, facts, encoder.revision)
        return encoder


def _described(contents: Sequence[bytes], config: DescriptorConfig) -> list[Vectors | str]:
    """(M,) descriptors of each picture, or the reason why there are none."""

    def work(some: Sequence[bytes]) -> list[Vectors | str]:
        found = [_read(content, config) for content in some]
        pictures = [f for f in found if not isinstance(f, str)]
        rows = iter(_rows(np.stack(pictures)) if pictures else ())
        return [f if isinstance(f, str) else next(rows) for f in found]

    _keep_freed_memory()
    size = max(1, min(TOGETHER, -(-len(contents) // cores())))
    parts = [contents[start : start + size] for start in range(0, len(contents), size)]
    return [found for part in read_all(parts, work) for found in part]


def _read(content: bytes, config: DescriptorConfig) -> Picture | str:
    try:
        return read_picture(content, config.side, config.max_pixels)
    except UnreadableError as reason:
        return str(reason)


def _rows(pictures: Picture) -> Vectors:
    """(n, S, S, 3) -> (n, M)"""
    return np.concatenate(list(describe(pictures).values()), axis=1)


@cache
def _keep_freed_memory() -> None:
    """Have glibc keep what arrays free, up to twice this: it does so after one piece as large was freed.

    Otherwise memory goes back to the system and is fetched anew, page by page, for every array that describing makes.
    """
    np.empty(KEPT, np.uint8)


def _readable(
    contents: Sequence[bytes | None], config: DescriptorConfig, progress: Progress | None
) -> list[NDArray[np.float32]]:
    stream = sampled(contents, config.fit_sample, progress)
    blocks = []
    while block := list(islice(stream, BLOCK)):
        found = [f for f in _described(block, config) if not isinstance(f, str)]
        if found:
            blocks.append(np.stack(found))
    return blocks


def _block_scales(centred: NDArray[np.float64], config: DescriptorConfig) -> NDArray[np.float64]:
    """(M,) the factor that gives each block a total variance of 1; 0 where a block never varies."""
    lengths = [b.shape[1] for b in describe(np.zeros((1, config.side, config.side, 3), np.uint8)).values()]
    block = np.repeat(np.arange(len(lengths)), lengths)
    variance = np.bincount(block, weights=np.square(centred).mean(axis=0))
    return np.where(variance > 1e-12, 1 / np.sqrt(np.maximum(variance, 1e-12)), 0.0)[block]


def _principal(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """(n, M) centred -> (D, M), D = min(width, n - 1, rank) but at least 1; each row's largest entry is positive."""
    count, size = rows.shape
    width = max(1, min(width, count - 1, size))
    tall = count > size
    gram = rows.T @ rows if tall else rows @ rows.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
    keep = values > max(FADING * values[0], 1e-12)
    if not keep.any():  # nothing varies: all pictures are the same
        return np.zeros((1, size))
    components = vectors[:, keep].T if tall else (vectors[:, keep].T @ rows) / np.sqrt(values[keep])[:, None]
    peaks = np.abs(components).argmax(axis=1)
    return components * np.sign(components[np.arange(len(components)), peaks])[:, None]  # type: ignore[no-any-return]
