"""One experiment: what a TOML file says, or flags, or the record of an earlier run; each command reads its sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medleyrec import storage
from medleyrec.config import Config, parse, read_toml, with_overrides
from medleyrec.dataset.cuts import SplitConfig
from medleyrec.dataset.prepare import PrepareConfig
from medleyrec.evaluation.negatives import NEGATIVES
from medleyrec.features import DEFAULT_ENCODERS
from medleyrec.features.describe.config import DescribeConfig
from medleyrec.features.text import TextFields
from medleyrec.schema import PICTURE, TEXT, InputError
from medleyrec.sources import SOURCES
from medleyrec.training.config import TrainConfig

RUN_RECORD = "run.json"
SPLIT_CHOICE = "split.json"  # what `medley prepare --split` chose, for the later steps of that project
View = Literal[
    "attributes",
    "described_image",
    "described_text",
    "described_both",
    "field_title",
    "field_categories",
    "field_brand",
    "field_price",
    "field_description",
]
_PATHS = ("folder", "interactions", "items", "images")


class EncodeConfig(Config):
    """Which encoder turns which content into vectors; "none" leaves the content out."""

    text: str = Field(
        default=DEFAULT_ENCODERS[TEXT],
        description="tfidf-svd, minilm, a model of Hugging Face by folder or hub name, imported:NAME, or none",
    )
    image: str = Field(
        default=DEFAULT_ENCODERS[PICTURE],
        description="descriptors, a model of Hugging Face by folder or hub name, imported:NAME, or none",
    )
    text_fields: TextFields = TextFields()
    text_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="of the text encoder; of a model: model, commit, label, pooling, max_tokens, prompt, dtype, "
        "device, batch_tokens",
    )
    image_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="of the image encoder; of a model: model, commit, label, pooling, max_pixels, dtype, device, batch",
    )
    offline: bool = Field(default=False, description="never fetch a model from the hub")
    views: tuple[View, ...] | None = Field(
        default=None,
        description="further tables made by the text encoder; by default attributes and what descriptions there are, "
        "where there are descriptions, else none; field_title, field_brand, ... take one value each",
    )


class ModelConfig(Config):
    """A registered model and the settings of it that differ from its defaults."""

    name: str = "sasrec"
    settings: dict[str, Any] = Field(default_factory=dict)


class EvaluateConfig(Config):
    candidates: Literal["log", "known", "catalogue"] | None = Field(
        default=None,
        description="what is ranked: items of the filtered log (default of leave-one-out), items known at the cut "
        "(default of a time cut; other targets count as missed), or all that were numbered",
    )
    protocol: Literal["full", "sampled"] = Field(
        default="full",
        description="full: every target among all candidates; sampled: a table beside it, each target among sampled "
        "negatives that its user never had",
    )
    negatives: int = Field(default=NEGATIVES, ge=1, description="how many, with protocol = sampled")
    negatives_seed: int = Field(default=0, ge=0, description="which ones, with protocol = sampled")
    cutoffs: tuple[int, ...] = Field(default=(5, 10, 20), min_length=1)
    baselines: tuple[str, ...] = ("popularity", "recent-popularity", "transitions")
    mask_seen: bool = Field(default=False, description="leave out of the ranking what the user had before")
    examples: int = Field(default=4, ge=0, description="users shown in the report")


class Experiment(Config):
    """Sections of a `medley.toml`. `source.kind` names an entry of the registry of sources."""

    project: Path
    source: dict[str, Any] = Field(default_factory=dict)
    prepare: PrepareConfig = PrepareConfig()
    split: SplitConfig = SplitConfig()
    describe: DescribeConfig = DescribeConfig()
    encode: EncodeConfig = EncodeConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def source_config(self) -> tuple[str, Any]:
        """(kind, checked settings of that source); raises InputError where the section is missing or unknown."""
        section = dict(self.source)
        kind = str(section.pop("kind", "tables"))
        if kind not in SOURCES:
            raise InputError(f"source.kind = {kind!r} is unknown; there are: {', '.join(sorted(SOURCES))}")
        module, _, name = SOURCES[kind].partition(":")
        config_class = getattr(import_module(module), f"{name.capitalize()}Config")
        if kind == "tables" and "folder" in section:
            raise InputError(
                "a folder was named, but not what is in it; add --kind movielens, amazon, recbole or microlens, or "
                "give tables of your own with --interactions"
            )
        if "folder" in config_class.model_fields and "folder" not in section:
            raise InputError(f"no folder was named; give --folder with the place of the {kind} data set")
        if kind == "tables" and "interactions" not in section:
            raise InputError(
                "no log was named; give --interactions log.csv, or a section [source] with interactions = "
                '"log.csv" in the TOML'
            )
        return kind, parse(config_class, section, where="source")


RECIPE = ("model", "train", "split", "evaluate")


def load_experiment(
    target: Path, *, overrides: Sequence[str] = (), flags: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> Experiment:
    """From a TOML file, a run folder, or a project folder (with its medley.toml, where it has one).

    `flags` (nested) come on top of the file, later ones on top of earlier ones, `overrides` ("a.b=c") on top of all.
    Paths in a TOML are relative to it.
    """
    values = _base(target)
    for given in [flags] if isinstance(flags, Mapping) else flags or ():
        values = _merged(values, given)
    return parse(Experiment, with_overrides(values, overrides), where=str(target))


def recipe_of(path: Path) -> dict[str, Any]:
    """The sections of a recipe that say how to train, whatever the project."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; --recipe takes a TOML file with [model] and [train]")
    found = {name: values for name, values in read_toml(path).items() if name in RECIPE}
    if "model" not in found:
        raise InputError(f"{path} has no [model], so it is no recipe")
    return found


def _base(target: Path) -> dict[str, Any]:
    if target.suffix == ".toml":
        return _from_toml(target)
    if (target / RUN_RECORD).exists():
        record = storage.read_json(target / RUN_RECORD)
        if not isinstance(record, dict) or "experiment" not in record:
            raise InputError(f"{target / RUN_RECORD} is no record of a run; delete the folder and train again")
        return {**record["experiment"], "project": str(target.absolute().parent.parent)}
    if (target / "medley.toml").exists():
        return _from_toml(target / "medley.toml") | {"project": str(target)}
    if (target / SPLIT_CHOICE).exists():
        return {"project": str(target), "split": storage.read_json(target / SPLIT_CHOICE)}
    if target.is_file():
        raise InputError(f"{target} is neither a project folder, a run folder nor a .toml file")
    return {"project": str(target)}


def _from_toml(path: Path) -> dict[str, Any]:
    values = read_toml(path)
    home = path.parent
    project = values.get("project", path.stem if path.stem != "medley" else ".")
    if not isinstance(project, str) or not project.strip() or "\0" in project:
        raise InputError(f'{path}: project = {project!r} is no folder; write it as text, such as "shop"')
    values["project"] = str(home / project)
    source = values.get("source")
    if isinstance(source, dict):
        for key in _PATHS:
            if isinstance(source.get(key), str):
                source[key] = str(home / source[key])
            elif isinstance(source.get(key), list):
                source[key] = [str(home / str(p)) for p in source[key]]
    return values


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
