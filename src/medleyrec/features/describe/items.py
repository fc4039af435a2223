"""What of an item may be shown to a model: cleaned values, and the picture as it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medleyrec.dataset.dataset import Dataset
from medleyrec.features.text import item_text
from medleyrec.schema import BRAND, CATEGORIES, DESCRIPTION, PRICE, TITLE
from medleyrec.storage import hash_bytes

VALUES = (TITLE, CATEGORIES, BRAND, PRICE, DESCRIPTION)
"""In the order in which the attribute text names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Absent values are empty. categories: the first path, root first."""

    id: str
    title: str = ""
    description: str = ""
    categories: tuple[str, ...] = ()
    brand: str = ""
    price: str = ""

    def value(self, name: str) -> str:
        found = getattr(self, name)
        return found if isinstance(found, str) else ", ".join(found)

    def attributes(self, longest: int) -> str:
        """All values that are known, each cut at `longest` characters, without a full stop; empty where none is."""
        known = {name: self.value(name)[:longest].strip() for name in VALUES}
        told = [f"{name} {'are' if name == CATEGORIES else 'is'} {value}" for name, value in known.items() if value]
        return f"The item has these attributes: {'; '.join(told)}" if told else ""


class Items:
    """Items by row, 1 to V - 1."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._columns = {name: dataset.catalogue.column(name) for name in VALUES}
        self._hashes: dict[int, str] = {}

    def __len__(self) -> int:
        """V - 1."""
        return self.dataset.num_items - 1

    def __repr__(self) -> str:
        return f"Items({len(self):,})"

    def __getitem__(self, row: int) -> Item:
        values = {name: column[row - 1].as_py() for name, column in self._columns.items()}
        return Item(
            id=self.dataset.item_ids[row],
            title=item_text(values[TITLE]),
            description=item_text(values[DESCRIPTION]),
            categories=_path(values[CATEGORIES]),
            brand=item_text(values[BRAND]),
            price="" if values[PRICE] is None else f"{values[PRICE]:g}",
        )

    def picture(self, row: int) -> bytes | None:
        return self.dataset.picture(row) if self.dataset.has_pictures else None

    def picture_hash(self, row: int) -> str:
        """Of the bytes as they were given; empty where there is no picture. Read once."""
        if row not in self._hashes:
            picture = self.picture(row)
            self._hashes[row] = hash_bytes(picture) if picture else ""
        return self._hashes[row]


def _path(paths: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    return tuple(filter(None, map(item_text, paths[0]))) if paths and paths[0] else ()
