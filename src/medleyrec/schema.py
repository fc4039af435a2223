"""What all layers agree on: column names, the padding id, split names and the types that cross the borders.

Letters:  B rows   L positions   D width   V items, row 0 being padding   C candidates or categories   E events

Nothing here opens a file or imports torch at run time; the annotations alone name its types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation
    from torch import Tensor, device

PAD = 0

USER, ITEM, TIME, ORDER, RATING, EVENT = "user_id", "item_id", "timestamp", "order", "rating", "event"
TITLE, DESCRIPTION, CATEGORIES, BRAND, PRICE, IMAGE = "title", "description", "categories", "brand", "price", "image"
ITEM_COLUMNS = (ITEM, TITLE, DESCRIPTION, CATEGORIES, BRAND, PRICE, IMAGE)

TRAIN, VALIDATION, TEST = "train", "validation", "test"
LEAVE_ONE_OUT, TIME_CUT = "leave-one-out", "time"

ID, TEXT, PICTURE = "id", "text", "image"
DESCRIBED_IMAGE, DESCRIBED_TEXT, DESCRIBED_BOTH = "described_image", "described_text", "described_both"
DESCRIPTIONS = (DESCRIBED_IMAGE, DESCRIBED_TEXT, DESCRIBED_BOTH)
"""What a multimodal language model wrote about an item: of its picture, of its text, of both."""
ATTRIBUTES = "attributes"
"""An item's original text as sentences about its attributes."""
FIELDS = tuple(f"field_{name}" for name in (TITLE, CATEGORIES, BRAND, PRICE, DESCRIPTION))
"""The same, each attribute by itself."""
FEATURES = (TEXT, PICTURE, *DESCRIPTIONS, ATTRIBUTES, *FIELDS)

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class InputError(ValueError):
    """What the user gave cannot be used: one sentence that says what, where and how to mend it."""


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalTables:
    """What a source yields: lazy tables with the canonical columns, on one DuckDB connection.

    interactions: user_id VARCHAR, item_id VARCHAR, timestamp BIGINT (s), order BIGINT (sub-second part or input row),
        and, where the log has them, rating DOUBLE and event VARCHAR.
    items: item_id VARCHAR, title, description, brand VARCHAR, categories VARCHAR[][] (paths, each root first),
        price DOUBLE, image VARCHAR (a path inside `image_folder`); absent values are NULL.
    images: item_id VARCHAR, bytes BLOB, where pictures came as bytes; else None.
    """

    connection: DuckDBPyConnection
    interactions: DuckDBPyRelation
    items: DuckDBPyRelation
    images: DuckDBPyRelation | None = None
    image_folder: Path | None = None
    fingerprint: str = ""
    """Hash of the input's content and of how it was read: equal fingerprints mean equal tables."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: which columns were taken for what, which time unit was recognised."""

    def __repr__(self) -> str:
        pictures = "bytes" if self.images is not None else self.image_folder or "none"
        return f"CanonicalTables(interactions={self.interactions.columns}, items={self.items.columns}, {pictures=!s})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What a model must know of the data; saved beside its weights.

    num_items counts padding, so it is the height V of the item table. Times are seconds.
    """

    num_items: int
    widths: dict[str, int] = field(default_factory=dict)
    """Width of each feature table at hand: {"text": 256, "image": 256}."""
    num_categories: int = 0
    start_time: int = 0
    """Time of the training log's first event, seconds since the epoch."""
    max_gap: int = 0
    """Largest gap between consecutive training events of one user, seconds."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Content vectors of all items: what a model is given instead of files.

    vectors[name]: float16 (V, width), row 0 zero; present[name]: bool (V,), False where the content is missing.
    """

    vectors: dict[str, NDArray[np.float16]] = field(default_factory=dict)
    present: dict[str, Mask] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int]:
        return {name: int(v.shape[1]) for name, v in self.vectors.items()}

    def only(self, names: tuple[str, ...]) -> Features:
        """The named tables, in that order."""
        lacking = [n for n in names if n not in self.vectors]
        if lacking:
            raise InputError(
                f"features {lacking} are not encoded (there are: {sorted(self.vectors) or 'none'}); "
                "run `medley encode` first"
            )
        return Features(vectors={n: self.vectors[n] for n in names}, present={n: self.present[n] for n in names})

    def __repr__(self) -> str:
        told = ", ".join(
            f"{n}: {v.shape[0]} x {v.shape[1]}, {self.present[n].mean():.1%} present" for n, v in self.vectors.items()
        )
        return f"Features({told or 'none'})"


@dataclass(frozen=True, slots=True, eq=False)
class EvalEvents:
    """Events to be predicted: user, where its history starts and ends (indices into the flat log), and the target."""

    users: Int64s  # (E,)
    history_starts: Int64s  # (E,) first event of the user, an index into the flat log
    history_ends: Int64s  # (E,)
    targets: Int32s  # (E,)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"EvalEvents({len(self)} events of {len(np.unique(self.users))} users)"

    def take(self, rows: Int64s) -> EvalEvents:
        return EvalEvents(self.users[rows], self.history_starts[rows], self.history_ends[rows], self.targets[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of events, left-aligned: position 0 is the window's first event, padding is on the right.

    targets[b, l] is the item that follows position l, or PAD where nothing is to be predicted.
    """

    items: Tensor  # (B, L) int64 rows of the item table
    times: Tensor  # (B, L) int64 seconds since the epoch, 0 at padding
    lengths: Tensor  # (B,) int64
    targets: Tensor  # (B, L) int64
    users: Tensor  # (B,) int64
    num_targets: int = 0
    """How many targets there are, known to the host, so that gathering them does not wait for the device."""
    touched: Tensor | None = None
    """(n,) the item row of each row of the table, where the table holds only the rows that a step touches: `items` and
    `targets` are then numbers below n. Row 0 is padding in both."""

    def __len__(self) -> int:
        return int(self.items.shape[0])

    def __repr__(self) -> str:
        return f"Batch({self.items.shape[0]} rows x {self.items.shape[1]} positions)"

    def catalogue(self, places: Tensor) -> Tensor:
        """Rows of the item table that `places`, rows of the step's table, stand for: what labels are looked up by."""
        return places if self.touched is None else self.touched[places]

    def to(self, where: device | str) -> Batch:
        names = ("items", "times", "lengths", "targets", "users")
        moved = {name: getattr(self, name).to(where, non_blocking=True) for name in names}
        touched = None if self.touched is None else self.touched.to(where, non_blocking=True)
        return Batch(**moved, num_targets=self.num_targets, touched=touched)
