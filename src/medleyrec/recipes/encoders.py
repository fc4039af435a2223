"""From the name of an encoder to an encoder: fitted here, trained elsewhere, or vectors that came ready made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medleyrec.config import parse
from medleyrec.dataset.split import Split
from medleyrec.features import (
    ENCODERS,
    Encoder,
    VectorStore,
    encoder_class,
    load_encoder,
    pretrained_class,
    ready_encoder,
    ready_model,
)
from medleyrec.recipes.contents import Chosen
from medleyrec.recipes.experiment import EncodeConfig
from medleyrec.recipes.listener import Listener
from medleyrec.schema import PICTURE, TEXT, InputError

NONE, IMPORTED = "none", "imported:"


class Encoders:
    """The encoders of one run of `encode`; a pretrained model is opened once for all tables that it makes."""

    def __init__(self, store: VectorStore, split: Split, config: EncodeConfig, listener: Listener) -> None:
        self.store, self.split, self.config, self.listener = store, split, config, listener
        self._models: dict[str, Encoder] = {}

    def named(self, modality: str) -> str:
        return self.config.text if modality == TEXT else self.config.image

    def imported(self, modality: str) -> bool:
        return self.named(modality).startswith(IMPORTED)

    def of(self, modality: str, table: str, contents: Sequence[bytes | None], *, refit: bool) -> Encoder:
        """For the table of that name; `contents` are those of all items, of which training items are fitted on."""
        name = self.named(modality)
        if name.startswith(IMPORTED):
            return self._kept(name.removeprefix(IMPORTED), table)
        if name in ENCODERS:
            return self._fitted(name, modality, table, contents, refit=refit)
        if modality not in self._models:
            self._models[modality] = self._pretrained(name, modality)
        return self._models[modality]

    def has_imported(self, modality: str, table: str) -> bool:
        return self._folder(self.named(modality).removeprefix(IMPORTED), table) is not None

    def _settings(self, modality: str) -> dict[str, Any]:
        return self.config.text_settings if modality == TEXT else self.config.image_settings

    def _fitted(
        self, name: str, modality: str, table: str, contents: Sequence[bytes | None], *, refit: bool
    ) -> Encoder:
        kind = encoder_class(name)
        config = parse(kind.settings, self._settings(modality), where=f"encode.{modality}_settings")
        train = Chosen(contents, np.flatnonzero(self.split.in_train[1:]))
        key = self.split.name if table in (TEXT, PICTURE) else f"{self.split.name}-{table}"

        def fitting(done: int, total: int) -> None:
            self.listener.step(f"fit {name}", done, total)

        encoder, fitted = ready_encoder(kind, self.store, key, train, config, refit=refit, progress=fitting)
        if fitted:
            self.listener.say(f"{name} was fitted on the {table} of {len(train):,} training items.")
        return encoder

    def _pretrained(self, name: str, modality: str) -> Encoder:
        from medleyrec.features.pretrained import MODEL_NAMES, fetched, pooling_in_doubt

        kind = pretrained_class(modality)
        named = {"model": MODEL_NAMES[name], "label": name} if name in MODEL_NAMES else {"model": name}
        where = f"encode.{modality}_settings"
        config = parse(kind.settings, {**named, **self._settings(modality)}, where=where)
        model, commit = getattr(config, "model", name), getattr(config, "commit", None)
        place = fetched(model, commit, offline=self.config.offline, say=self.listener.say)
        if modality == TEXT and getattr(config, "pooling", "") == "auto" and pooling_in_doubt(place):
            self.listener.say(
                f"Caution: another program left {model} in the local cache, perhaps in part: if it has a pooling of "
                f"its own, that is not there, and the mean is taken. Set {where}.pooling, or run `hf download {model}`."
            )
        self.listener.step(f"open {name}", 0, 1)
        encoder = ready_model(kind, self.store, config)
        self.listener.step(f"open {name}", 1, 1)
        return encoder

    def _kept(self, label: str, table: str) -> Encoder:
        folder = self._folder(label, table)
        if folder is None:
            raise InputError(
                f"no vectors named {label!r} were imported as {table}; import them with `medley vectors PROJECT FILE "
                f"--as {table} --name {label}`"
            )
        return load_encoder(folder)

    def _folder(self, label: str, table: str) -> Any:
        from medleyrec.features.imported import imported_name

        return self.store.fitted(imported_name(label), table)


def check_encoder(name: str, modality: str) -> None:
    """Raises InputError where a known encoder is of the other modality."""
    from medleyrec.features.pretrained import MODEL_NAMES

    entry = ENCODERS.get(name)
    own = entry.modality if entry else TEXT if name in MODEL_NAMES else modality
    if own != modality:
        raise InputError(f"{name!r} encodes {own}, not {modality}")


def called(manifest: dict[str, Any]) -> str:
    """What `--text` or `--image` must be told to have the encoder of a table again."""
    from medleyrec.features.pretrained import MODEL_NAMES

    name, origin = str(manifest["encoder"]), manifest.get("origin", {})
    if "imported" in origin:
        return f"{IMPORTED}{origin['imported']}"
    if name in ENCODERS or name in MODEL_NAMES or not origin.get("model"):
        return name
    return str(origin["model"]) if origin.get("commit") else f"PATH/{origin['model']}"


def origin_of(encoder: Encoder) -> dict[str, Any] | None:
    """Where an encoder that was not fitted here is from."""
    origin: dict[str, Any] | None = getattr(encoder, "origin", None)
    return origin
