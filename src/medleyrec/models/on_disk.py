"""Feature tables too large for memory stay on disk: rows are read when they are asked for, a block at a time.

Letters:  V items   F width of a feature   n rows asked for
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medleyrec.schema import Int64s, Mask

IN_MEMORY = 1 << 30
"""Bytes of a table in float32 up to which it is held in memory."""
BLOCK_BYTES = 64 << 20  # of a block in float32
MAPPED_BYTES = 256 << 20  # read before the file is mapped anew: what has been read does not add up in memory
PAGE = 4096

Vectors = NDArray[np.float16]


def is_large(vectors: Vectors) -> bool:
    return bool(4 * vectors.size > IN_MEMORY)


class TableOnDisk:
    """`rows(which)` -> float32 (n, F) of a table (V, F) that is never read whole."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors, self._read = vectors, 0
        self.height, self.width = int(vectors.shape[0]), int(vectors.shape[1])
        self.block = max(1, BLOCK_BYTES // (4 * self.width))

    def __len__(self) -> int:
        return self.height

    def __repr__(self) -> str:
        return f"TableOnDisk({self.height} x {self.width})"

    def rows(self, which: slice | Int64s) -> Tensor:
        found = torch.from_numpy(np.array(self._vectors[which], np.float32))
        self._forget(len(found), scattered=not isinstance(which, slice))
        return found

    def _forget(self, rows: int, *, scattered: bool) -> None:
        size = self.width * self._vectors.dtype.itemsize
        self._read += rows * (max(size, PAGE) if scattered else size)
        old = self._vectors
        if self._read > MAPPED_BYTES and isinstance(old, np.memmap) and isinstance(old.base, mmap.mmap):
            self._vectors = np.memmap(old.filename, old.dtype, "r", old.offset, old.shape)
            self._read = 0

    def blocks(self, count: int) -> Iterator[slice]:
        """Of so many rows."""
        for first in range(0, count, self.block):
            yield slice(first, min(first + self.block, count))

    def moments(self, known: Mask) -> tuple[Tensor, Tensor]:
        """Mean and deviation (F,) of each column over the `known` (V,) rows, of which there is one; read once.

        Sums are of distances from a row that is known, so that little is lost where the mean is large.
        """
        summed, squared = torch.zeros(2, self.width, dtype=torch.float64)
        first, count = int(known.argmax()), int(known.sum())
        origin = self.rows(slice(first, first + 1))
        for part in self.blocks(self.height):
            away = self.rows(part).sub_(origin)
            away = away if known[part].all() else away[torch.from_numpy(known[part])]
            summed += away.sum(0)
            squared += away.square_().sum(0)
        mean = summed / count
        deviation = (squared / count - mean.square()).clamp(min=0).sqrt()
        return (mean + origin[0]).float(), deviation.float()


def blockwise(table: TableOnDisk, ids: Tensor | None, work: Callable[[slice | Int64s], Tensor]) -> Tensor:
    """`work(rows of the table)` -> (n, H) of the items `ids` (n,), or of all, put together.

    With gradients a block is read and worked on again on the way back, so that no block stays in memory.
    """
    count = len(table) if ids is None else len(ids)
    asked = None if ids is None else ids.cpu().numpy()
    pieces = [part if asked is None else asked[part] for part in table.blocks(count)]
    if len(pieces) == 1:
        return work(pieces[0])
    if torch.is_grad_enabled():
        redone = [checkpoint(work, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        return torch.cat(redone)
    whole: Tensor | None = None
    for part, piece in zip(table.blocks(count), pieces, strict=True):
        found = work(piece)
        whole = found.new_empty(count, found.shape[1]) if whole is None else whole
        whole[part] = found
    assert whole is not None
    return whole
