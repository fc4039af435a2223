"""The content of a dataset's items as sequences of bytes that are composed or read when they are asked for.

Entry i belongs to item row i + 1; None where an item has no such content.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from medleyrec.dataset.dataset import Dataset
from medleyrec.features.text import TextFields, item_text
from medleyrec.schema import Int64s


class Lazy(Sequence["bytes | None"]):
    @abstractmethod
    def at(self, index: int) -> bytes | None: ...

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes | None]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes | None] | None:
        if isinstance(index, slice):
            return [self.at(i) for i in range(*index.indices(len(self)))]
        return self.at(index)


class Texts(Lazy):
    """What `use` takes of title, categories, brand, description and price, one text per item."""

    def __init__(self, dataset: Dataset, use: TextFields) -> None:
        catalogue = dataset.catalogue
        self.use = use
        self.columns = {n: catalogue.column(n) for n in ("title", "description", "categories", "brand", "price")}
        self.size = len(catalogue)

    def __len__(self) -> int:
        return self.size

    def at(self, index: int) -> bytes | None:
        values = {name: column[index].as_py() for name, column in self.columns.items()}
        return item_text(**values, use=self.use).encode() or None


class Pictures(Lazy):
    """Pictures as they were given, not decoded."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return self.dataset.num_items - 1

    def at(self, index: int) -> bytes | None:
        return self.dataset.picture(index + 1)


class Chosen(Lazy):
    """Some entries of another sequence, by position."""

    def __init__(self, contents: Sequence[bytes | None], rows: Int64s) -> None:
        self.contents, self.rows = contents, rows

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, index: int) -> bytes | None:
        return self.contents[int(self.rows[index])]
