"""Item content -> vectors: text, pictures, the store that keeps them, the tables that models are given.

`ENCODERS` is the registry: adding an encoder is one file and one line. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from medleyrec.features.base import Encoded, Encoder, Progress, read_facts
from medleyrec.features.fitted import ready_encoder
from medleyrec.features.store import Space, VectorStore
from medleyrec.features.table import FeatureReport, encode_items, open_features, open_table
from medleyrec.schema import PICTURE, TEXT, InputError

__all__ = [
    "DEFAULT_ENCODERS",
    "ENCODERS",
    "Encoded",
    "Encoder",
    "FeatureReport",
    "Progress",
    "Space",
    "VectorStore",
    "encode_items",
    "encoder_class",
    "load_encoder",
    "open_features",
    "open_table",
    "ready_encoder",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an encoder lives and what it says of itself in `--help`."""

    modality: str
    summary: str
    module: str
    cls: str


ENCODERS: dict[str, Entry] = {
    "tfidf-svd": Entry(TEXT, "words and word pairs, truncated SVD", "medleyrec.features.text", "TfidfEncoder"),
    "descriptors": Entry(PICTURE, "colour, edges, texture, PCA", "medleyrec.features.image", "DescriptorEncoder"),
}
DEFAULT_ENCODERS = {TEXT: "tfidf-svd", PICTURE: "descriptors"}


def encoder_class(name: str) -> type[Encoder]:
    """Raises InputError for a name that is not in the registry."""
    if name not in ENCODERS:
        raise InputError(f"there is no encoder {name!r}; there are: {', '.join(sorted(ENCODERS))}")
    entry = ENCODERS[name]
    found: type[Encoder] = getattr(import_module(entry.module), entry.cls)
    return found


def load_encoder(folder: Path) -> Encoder:
    """The encoder that `save` wrote into `folder`, whichever it is."""
    return encoder_class(str(read_facts(folder).get("name"))).load(folder)
