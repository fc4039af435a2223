"""Texts and pictures of a dataset become feature tables; vectors stay in the project's store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.features import (
    ENCODERS,
    FeatureReport,
    VectorStore,
    encode_items,
    encoder_class,
    open_features,
    ready_encoder,
)
from medleyrec.recipes.contents import Chosen, Pictures, Texts
from medleyrec.recipes.experiment import EncodeConfig, Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import FEATURES, PICTURE, TEXT, Features, InputError

NONE = "none"


def run_encode(experiment: Experiment, listener: Listener, *, refit: bool = False) -> dict[str, FeatureReport]:
    """Write ``<project>/dataset/features/<split>/<text|image>``; what the store holds already is not encoded again.

    Encoders that must be fitted are fitted on the items of the training part; a fitted one is kept and used again.
    """
    dataset = open_dataset(experiment.project)
    split = make_split(dataset, experiment.split)
    contents = _contents(dataset, experiment.encode, listener)
    if not contents:
        raise InputError("nothing to encode: both encoders are off, or the dataset has neither texts nor pictures")
    return {
        name: _encode(experiment.project, split, name, encoder, content, listener, refit=refit)
        for name, (encoder, content) in contents.items()
    }


def _contents(
    dataset: Dataset, config: EncodeConfig, listener: Listener
) -> dict[str, tuple[str, Sequence[bytes | None]]]:
    chosen: dict[str, tuple[str, Sequence[bytes | None]]] = {}
    for name, encoder in ((TEXT, config.text), (PICTURE, config.image)):
        if encoder == NONE:
            continue
        if ENCODERS.get(encoder) is not None and ENCODERS[encoder].modality != name:
            raise InputError(f"{encoder!r} encodes {ENCODERS[encoder].modality}, not {name}")
        if name == PICTURE and not dataset.manifest["coverage"]["image"]:
            listener.say("The dataset has no pictures: only texts are encoded.")
        elif name == TEXT and not any(dataset.manifest["coverage"][c] for c in config.text_fields.fields):
            listener.say("The dataset has no texts: only pictures are encoded.")
        else:
            chosen[name] = encoder, Texts(dataset, config.text_fields) if name == TEXT else Pictures(dataset)
    return chosen


def _encode(
    project: Path,
    split: Split,
    name: str,
    encoder_name: str,
    contents: Sequence[bytes | None],
    listener: Listener,
    *,
    refit: bool,
) -> FeatureReport:
    store = VectorStore(project / "store")
    kind = encoder_class(encoder_name)
    train = Chosen(contents, np.flatnonzero(split.in_train[1:]))

    def fitting(done: int, total: int) -> None:
        listener.step(f"fit {encoder_name}", done, total)

    def encoding(done: int, total: int) -> None:
        listener.step(f"encode {name}", done, total)

    encoder, fitted = ready_encoder(kind, store, split.name, train, refit=refit, progress=fitting)
    if fitted:
        listener.say(f"{encoder_name} was fitted on the {name} of {len(train):,} training items.")
    report = encode_items(contents, encoder, store, features_folder(split) / name, progress=encoding)
    listener.say(f"{name}: {report}.")
    return report


def features_folder(split: Split) -> Path:
    """Of a split: encoders are fitted on its training items alone."""
    return split.dataset.folder / "features" / split.name


def feature_identity(manifest: dict[str, Any]) -> list[str]:
    """What a table's vectors depend on: encoder, revision, content."""
    return [manifest["encoder"], manifest["revision"], manifest["content"]]


def load_features(split: Split, names: Sequence[str]) -> Features:
    """The named tables, text and pictures only; raises InputError where one is not encoded yet."""
    wanted = [n for n in names if n in FEATURES]
    return open_features(features_folder(split), wanted) if wanted else Features()
