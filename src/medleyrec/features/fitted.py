"""An encoder is kept beside the vectors it made: what was fitted, or a pointer to a model that was trained elsewhere.

So a fitted encoder's revision stays while the catalogue changes, and new items are encoded as the old ones were.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleyrec.config import Config
from medleyrec.features.base import Encoder, Progress, read_facts
from medleyrec.features.store import VectorStore
from medleyrec.schema import InputError
from medleyrec.storage import hash_json, read_json

if TYPE_CHECKING:
    from medleyrec.features.pretrained import Pretrained


def ready_encoder(
    kind: type[Encoder],
    store: VectorStore,
    key: str,
    contents: Sequence[bytes | None],
    config: Config | None = None,
    *,
    refit: bool = False,
    progress: Progress | None = None,
) -> tuple[Encoder, bool]:
    """The encoder kept in the store for `key` and these settings, or a newly fitted one (then the flag is True)."""
    settings: Any = config or kind.settings()
    place = f"{key}-{hash_json(settings.model_dump())}"
    folder = None if refit else store.fitted(_name(kind), place)
    if folder is not None:
        return kind.load(folder), False
    encoder = kind.fit(contents, settings, progress=progress)
    store.keep_fitted(place, encoder)
    return encoder, True


def ready_model(kind: type[Pretrained], store: VectorStore, config: Config) -> Pretrained:
    """A pretrained encoder. Where the store keeps a pointer to it, its weights are opened only when they are needed."""
    encoder = kind.fit([], config)
    folder = store.fitted(encoder.name, encoder.revision)
    known = None if folder is None else read_facts(folder)
    if known is not None:
        encoder.expect_width(known["width"])
    if known is None or known["config"]["model"] != encoder.place.model:  # the pointer follows a model that moved
        store.keep_fitted(encoder.revision, encoder)
    return encoder


def kept_folder(store: VectorStore, name: str, revision: str) -> Path:
    """Where the encoder of a table is kept, by what the table's manifest says. Raises InputError where it is not."""
    for path in sorted((store.folder / "fitted" / name).glob("*/encoder.json")):
        if read_json(path).get("revision") == revision:
            return path.parent
    raise InputError(f"the encoder {name}, revision {revision}, is not in {store.folder}; run `medley encode` again")


def _name(kind: type[Encoder]) -> str:
    """Of a kind that is fitted here, the name is that of the class."""
    return str(kind.name)
