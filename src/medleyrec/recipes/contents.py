"""The content of a dataset's items as sequences of bytes that are composed or read when they are asked for.

Entry i belongs to item row i + 1; None where an item has no such content.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import overload

from medleyrec.dataset.dataset import Dataset
from medleyrec.features.describe.items import Items
from medleyrec.features.text import TextFields, item_text
from medleyrec.schema import DESCRIBED_BOTH, DESCRIBED_IMAGE, DESCRIBED_TEXT, Int64s

COLUMNS = ("title", "description", "categories", "brand", "price")
LONGEST_VALUE = 100
"""Characters of an attribute's value that the sentence takes."""


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
        self.columns = {n: catalogue.column(n) for n in COLUMNS}
        self.size = len(catalogue)

    def __len__(self) -> int:
        return self.size

    def at(self, index: int) -> bytes | None:
        values = {name: column[index].as_py() for name, column in self.columns.items()}
        return item_text(**values, use=self.use).encode() or None


class Attributes(Lazy):
    """An item's original text as a sentence: "The item has these attributes: title is ...; brand is ..."."""

    def __init__(self, dataset: Dataset) -> None:
        self.items = Items(dataset)

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: int) -> bytes | None:
        return self.items[index + 1].attributes(LONGEST_VALUE).encode() or None


class Field(Lazy):
    """One value of each item's original text by itself, whole."""

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.items, self.name = Items(dataset), name

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: int) -> bytes | None:
        return self.items[index + 1].value(self.name).strip().encode() or None


class Described(Lazy):
    """What was written about each item; blank answers count as none."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, index: int) -> bytes | None:
        text = self.texts[index]
        return text.strip().encode() or None if text else None


class Ids(Lazy):
    """External ids, for vectors that belong to items by id."""

    def __init__(self, dataset: Dataset) -> None:
        self.ids = dataset.item_ids

    def __len__(self) -> int:
        return len(self.ids) - 1

    def at(self, index: int) -> bytes | None:
        return self.ids[index + 1].encode()


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


def without_pictures(
    described: dict[str, list[str | None]], has_picture: Callable[[int], bool]
) -> tuple[dict[str, list[str | None]], int]:
    """Descriptions in which items without a picture take the text view for their picture views; and how many do.

    `has_picture(i)` is asked only where a picture view is missing and the text view is there.
    """
    texts = described.get(DESCRIBED_TEXT)
    views = [view for view in (DESCRIBED_IMAGE, DESCRIBED_BOTH) if view in described]
    if texts is None or not views:
        return described, 0
    filled = {view: list(entries) for view, entries in described.items()}
    bare = [
        i for i, text in enumerate(texts) if text and not all(filled[view][i] for view in views) and not has_picture(i)
    ]
    for view in views:
        for i in bare:
            filled[view][i] = filled[view][i] or texts[i]
    return filled, len(bare)
