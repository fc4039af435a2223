"""Item content -> vectors: text, pictures, the store that keeps them, the tables that models are given.

`ENCODERS` is the registry of what is fitted here: adding an encoder is one file and one line. `PRETRAINED` holds the
two that open a model trained elsewhere, `IMPORTED` the one of vectors that came ready made. Nothing heavy is imported
before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleyrec.features.base import Encoded, Encoder, Progress, read_facts
from medleyrec.features.fitted import kept_folder, ready_encoder, ready_model
from medleyrec.features.store import Space, VectorStore
from medleyrec.features.table import FeatureReport, content_hash, encode_items, hash_contents, open_features, open_table
from medleyrec.schema import PICTURE, TEXT, InputError

if TYPE_CHECKING:
    from medleyrec.features.pretrained import Pretrained

__all__ = [
    "DEFAULT_ENCODERS",
    "ENCODERS",
    "PRETRAINED",
    "Encoded",
    "Encoder",
    "FeatureReport",
    "Progress",
    "Space",
    "VectorStore",
    "content_hash",
    "encode_items",
    "encoder_class",
    "hash_contents",
    "kept_folder",
    "load_encoder",
    "open_features",
    "open_table",
    "pretrained_class",
    "ready_encoder",
    "ready_model",
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
_MODELS = "medleyrec.features.pretrained"
PRETRAINED: dict[str, Entry] = {
    "pretrained-text": Entry(TEXT, "any text model of Hugging Face", f"{_MODELS}.text", "PretrainedTextEncoder"),
    "pretrained-image": Entry(
        PICTURE, "any vision or dual model of Hugging Face", f"{_MODELS}.image", "PretrainedPictureEncoder"
    ),
}
IMPORTED = {"imported": Entry(TEXT, "vectors made elsewhere", "medleyrec.features.imported", "ImportedEncoder")}


def encoder_class(name: str) -> type[Encoder]:
    """Raises InputError for a name that is not in the registry."""
    if name not in ENCODERS:
        raise InputError(f"there is no encoder {name!r}; there are: {', '.join(sorted(ENCODERS))}")
    found: type[Encoder] = _class(ENCODERS[name])
    return found


def pretrained_class(modality: str) -> type[Pretrained]:
    """The encoder that opens models of TEXT or of PICTURE."""
    found: type[Pretrained] = _class(next(entry for entry in PRETRAINED.values() if entry.modality == modality))
    return found


def _class(entry: Entry) -> Any:
    return getattr(import_module(entry.module), entry.cls)


def load_encoder(folder: Path) -> Encoder:
    """The encoder that `save` wrote into `folder`, whichever it is.

    Of a pretrained one a pointer was written: raises InputError where the model is gone or its files changed.
    """
    facts = read_facts(folder)
    elsewhere = {**PRETRAINED, **IMPORTED}
    if facts.get("kind") in elsewhere:
        found: Encoder = _class(elsewhere[facts["kind"]]).load(folder)
        return found
    return encoder_class(str(facts.get("name"))).load(folder)
