"""Texts, pictures and views of a dataset become feature tables; vectors stay in the project's store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.features import (
    Encoder,
    FeatureReport,
    VectorStore,
    content_hash,
    encode_items,
    hash_contents,
    kept_folder,
    load_encoder,
    open_features,
)
from medleyrec.features.describe.items import VALUES
from medleyrec.models import model_class
from medleyrec.recipes.contents import Attributes, Described, Field, Ids, Pictures, Texts, without_pictures
from medleyrec.recipes.encoders import NONE, Encoders, called, check_encoder, origin_of
from medleyrec.recipes.experiment import EncodeConfig, Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import ATTRIBUTES, DESCRIPTIONS, FEATURES, FIELDS, PICTURE, TEXT, Features, InputError
from medleyrec.storage import read_json

DESCRIPTIONS_FOLDER = "descriptions"
FIELD_VALUES = dict(zip(FIELDS, VALUES, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table to be made: its name, whose encoder makes it, of what, and what an item without content lacks."""

    table: str
    modality: str
    contents: Sequence[bytes | None]
    absent: str | None = None
    written: str | None = None
    """Who wrote a described view."""


def run_encode(experiment: Experiment, listener: Listener, *, refit: bool = False) -> dict[str, FeatureReport]:
    """Write ``<project>/dataset/features/<split>/<table>``; what the store holds already is not encoded again.

    Encoders that must be fitted are fitted on the items of the training part; a fitted one is kept and used again.
    A pretrained model that is not on this machine is fetched, after a sentence, unless `encode.offline`.
    """
    dataset = open_dataset(experiment.project)
    split = make_split(dataset, experiment.split)
    store = VectorStore(experiment.project / "store")
    encoders = Encoders(store, split, experiment.encode, listener)
    wanted = _contents(dataset, experiment.encode, encoders, listener)
    wanted += _views(experiment.project, dataset, experiment.encode, encoders, listener, use=experiment.describe.use)
    if not wanted:
        raise InputError("nothing to encode: both encoders are off, or the dataset has neither texts nor pictures")
    return {one.table: _encode(one, encoders, split, store, listener, refit=refit) for one in wanted}


def _contents(dataset: Dataset, config: EncodeConfig, encoders: Encoders, listener: Listener) -> list[Wanted]:
    wanted = []
    for modality, name in ((TEXT, config.text), (PICTURE, config.image)):
        check_encoder(name, modality)
        if name == NONE:
            continue
        if encoders.imported(modality):
            wanted.append(_imported(dataset, modality, modality))
        elif modality == PICTURE and not dataset.manifest["coverage"]["image"]:
            listener.say("The dataset has no pictures: only texts are encoded.")
        elif modality == TEXT and not any(dataset.manifest["coverage"][c] for c in config.text_fields.fields):
            listener.say("The dataset has no texts: only pictures are encoded.")
        else:
            contents = Texts(dataset, config.text_fields) if modality == TEXT else Pictures(dataset)
            wanted.append(Wanted(table=modality, modality=modality, contents=contents))
    return wanted


def _imported(dataset: Dataset, table: str, modality: str) -> Wanted:
    return Wanted(table=table, modality=modality, contents=Ids(dataset))


def _views(
    project: Path, dataset: Dataset, config: EncodeConfig, encoders: Encoders, listener: Listener, *, use: str | None
) -> list[Wanted]:
    """Tables of the item's original text and of descriptions, made by the text encoder."""
    there = (project / DESCRIPTIONS_FOLDER).is_dir()
    asked: Sequence[str] = config.views if config.views is not None else (ATTRIBUTES, *DESCRIPTIONS) if there else ()
    if not asked or config.text == NONE:
        if config.views:
            raise InputError("views are made by the text encoder, which is none; name one with --text")
        return []
    if encoders.imported(TEXT):
        chosen = [v for v in asked if config.views is not None or encoders.has_imported(TEXT, v)]
        return [_imported(dataset, view, TEXT) for view in chosen]
    if config.views is None and not any(dataset.manifest["coverage"].get(c) for c in VALUES):
        asked = DESCRIPTIONS
    told = there and set(asked) & set(DESCRIPTIONS)
    origin, described = _described(project, dataset, listener, use=use) if told else ("", {})
    lacking = [v for v in asked if v in DESCRIPTIONS and v not in described]
    if config.views is not None and lacking:
        raise InputError(f"there are no descriptions for {', '.join(lacking)} yet; run `medley describe` first")
    wanted = []
    for view in asked:
        if view == ATTRIBUTES:
            wanted.append(Wanted(table=view, modality=TEXT, contents=Attributes(dataset), absent="no attribute"))
        elif view in FIELDS:
            wanted.append(_field(dataset, view))
        elif view in described:
            content = Described(described[view])
            wanted.append(Wanted(table=view, modality=TEXT, contents=content, absent="not described", written=origin))
    return wanted


def _field(dataset: Dataset, view: str) -> Wanted:
    name = FIELD_VALUES[view]
    if not dataset.manifest["coverage"].get(name):
        raise InputError(f"no item has a {name}, so there is nothing to encode as {view}; leave it out of the views")
    return Wanted(table=view, modality=TEXT, contents=Field(dataset, name), absent=f"no {name}")


def _described(
    project: Path, dataset: Dataset, listener: Listener, *, use: str | None
) -> tuple[str, dict[str, list[str | None]]]:
    from medleyrec.recipes.describe import described_views

    pictures = Pictures(dataset)
    origin, texts = described_views(project, dataset, use=use)
    found, bare = without_pictures(texts, lambda i: pictures[i] is not None)
    if bare:
        share = bare / max(len(pictures), 1)
        listener.say(f"{share:.1%} of items have no picture: their picture views take the text view.")
    return origin, found


def stale_views(experiment: Experiment, split: Split, names: Sequence[str]) -> list[str]:
    """Sentences about the views among `names` whose descriptions are others than those that were encoded."""
    told, folder = [], experiment.project / DESCRIPTIONS_FOLDER
    encoded = {}
    for view in set(DESCRIPTIONS) & set(names):
        path = features_folder(split) / view / "manifest.json"
        if path.exists() and "written" in (manifest := read_json(path)).get("origin", {}):
            encoded[view] = manifest
    if not encoded or not folder.is_dir():
        return []
    origin, described = _described(experiment.project, split.dataset, Listener(), use=experiment.describe.use)
    for view, manifest in sorted(encoded.items()):
        now = Described(described.get(view, [None] * (split.dataset.num_items - 1)))
        if content_hash(*hash_contents(now)) != manifest["content"]:
            before = manifest["origin"]["written"]
            told.append(
                f"The descriptions of {view} have changed since they were encoded (of {before} then, of "
                f"{origin or 'nobody'} now): this trains on the former; `medley encode` takes the new ones."
            )
    return told


def unencoded_descriptions(experiment: Experiment, split: Split) -> list[str]:
    """A sentence where the model is made for descriptions, and the project's have not been encoded."""
    from medleyrec.recipes.describe import origin_in_use

    folder = features_folder(split)
    meant = set(DESCRIPTIONS) & set(model_class(experiment.model.name).default_items)
    if not meant or any((folder / view / "manifest.json").exists() for view in meant):
        return []
    if not (experiment.project / DESCRIPTIONS_FOLDER).is_dir():
        return []
    origin = origin_in_use(experiment.project, experiment.describe.use)
    if not origin:
        return []
    return [f"The items' descriptions (of {origin}) are not encoded, so this trains without; `medley encode` does it."]


def _encode(
    one: Wanted, encoders: Encoders, split: Split, store: VectorStore, listener: Listener, *, refit: bool
) -> FeatureReport:
    encoder = encoders.of(one.modality, one.table, one.contents, refit=refit)
    return write_table(one, encoder, split, store, listener)


def write_table(one: Wanted, encoder: Encoder, split: Split, store: VectorStore, listener: Listener) -> FeatureReport:
    """Encode and say what was done and, of a view, how many items it covers."""

    def encoding(done: int, total: int) -> None:
        listener.step(f"encode {one.table}", done, total)

    path = features_folder(split) / one.table / "manifest.json"
    if path.exists() and (told := _replaced(one.table, encoder, read_json(path))):
        listener.say(told)
    origin = {**(origin_of(encoder) or {}), **({"written": one.written} if one.written else {})}
    report = encode_items(
        one.contents,
        encoder,
        store,
        features_folder(split) / one.table,
        absent=one.absent,
        origin=origin,
        progress=encoding,
    )
    listener.say(f"{one.table}: {report.told(split.dataset.item_ids)}.")
    if one.table not in (TEXT, PICTURE):
        covered = 1 - sum(report.missing.values()) / max(report.total, 1)
        by = f" ({one.written})" if one.written else ""
        listener.say(f"{one.table}{by} covers {covered:.1%} of the {report.total:,} items.")
    return report


def _replaced(table: str, encoder: Encoder, before: dict[str, Any]) -> str:
    """A sentence where another encoder made the table before, or the same one otherwise; with the way back."""
    if before["encoder"] == encoder.name and before["revision"] == encoder.revision:
        return ""
    if before["encoder"] == encoder.name:
        change = f"is made anew by {encoder.name}, with other settings, weights or vectors than before"
        return f"{table} {change}: runs trained on the former vectors fit no more."
    option = PICTURE if table == PICTURE else TEXT
    return (
        f"{table} is now made by {encoder.name}, which was {before['encoder']}: runs trained on the former vectors fit "
        f"no more (`medley encode` with --{option} {called(before)} goes back)."
    )


def features_folder(split: Split) -> Path:
    """Of a split: encoders are fitted on its training items alone."""
    return split.dataset.folder / "features" / split.name


def encoder_of(project: Path, split: Split, table: str) -> Encoder:
    """The encoder that made a table, for new items. Raises InputError where it, or its model, is gone."""
    manifest = read_json(features_folder(split) / table / "manifest.json")
    return load_encoder(kept_folder(VectorStore(project / "store"), manifest["encoder"], manifest["revision"]))


def feature_identity(manifest: dict[str, Any]) -> list[str]:
    """What a table's vectors depend on: encoder, revision, content."""
    return [manifest["encoder"], manifest["revision"], manifest["content"]]


def load_features(split: Split, names: Sequence[str]) -> Features:
    """The named tables, those of content only; raises InputError where one is not encoded yet."""
    wanted = [n for n in names if n in FEATURES]
    return open_features(features_folder(split), wanted) if wanted else Features()
