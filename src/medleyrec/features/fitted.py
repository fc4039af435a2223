"""A fitted encoder is kept beside the vectors it made, so that its revision stays while the catalogue changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medleyrec.config import Config
from medleyrec.features.base import Encoder, Progress
from medleyrec.features.store import VectorStore
from medleyrec.storage import hash_json


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
    folder = None if refit else store.fitted(kind.name, place)
    if folder is not None:
        return kind.load(folder), False
    encoder = kind.fit(contents, settings, progress=progress)
    store.keep_fitted(place, encoder)
    return encoder, True
