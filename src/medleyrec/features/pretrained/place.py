"""Where a pretrained model lies on this machine: a folder, or the local cache of the Hugging Face hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medleyrec.features.pretrained.files import EXTRA, FETCHED, folder_name, lacks, refuse_unsafe
from medleyrec.schema import InputError
from medleyrec.storage import read_json

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MODEL_NAMES = {"minilm": MINILM}
"""Short names of models on the hub."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A whole model folder that is safe to open."""

    model: str
    """As `find_model` finds it again: the hub's name, or the absolute folder."""
    folder: Path
    commit: str | None = None

    @property
    def name(self) -> str:
        """Letters, digits, '.', '_' and '-' only, so that it can name a folder."""
        last = folder_name(self.folder) if self.commit is None else self.model.rpartition("/")[2]
        return slug(last)


def slug(name: str) -> str:
    """As near to `name` as a folder's name can be."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-") or "model"


def find_model(model: str, commit: str | None = None) -> Place | None:
    """The model on this machine, None where it is not here; the network is not asked.

    Raises InputError for a folder that holds no model, or one that must not be opened.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        missing = lacks(folder)
        refuse_unsafe(folder, model)
        if missing:
            raise InputError(f"{folder} is not a whole model of Hugging Face: {missing} is missing; copy all its files")
        return Place(model=str(folder.absolute()), folder=folder.absolute())
    cached = _cached(model, commit)
    if cached is None:
        return None
    refuse_unsafe(cached, model)
    if lacks(cached):  # a download that was cut
        return None
    return Place(model=model, folder=cached, commit=cached.name)


def is_hub_name(model: str) -> bool:
    """owner/name, and no path."""
    return _HUB_NAME.fullmatch(model) is not None and not model.startswith((".", "/", "~"))


def here(model: str, commit: str | None = None) -> Place:
    """As `find_model`, but a model that is not on this machine is an InputError."""
    place = find_model(model, commit)
    if place is None:
        raise InputError(
            f"the model {model} is in no folder here and not in the local cache; `medley encode` fetches it, or name "
            "the folder in which it lies"
        )
    return place


def pooling_in_doubt(place: Place) -> bool:
    """Whether a text model may have a pooling of its own that is not here.

    Some programs fetch weights and tokenizer alone into the hub's cache; then it has no list of all the model's files.
    """
    if place.commit is None or (place.folder / "modules.json").is_file():
        return False
    listed = place.folder.parents[1] / "trees" / f"{place.commit}.json"
    return not listed.is_file() and "text_config" not in read_json(place.folder / "config.json")


def _cached(model: str, commit: str | None) -> Path | None:
    """Its snapshot. The client knows which files a repository has: without FETCHED it would miss those we leave out."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(EXTRA) from None
    try:
        return Path(snapshot_download(model, revision=commit, local_files_only=True, **FETCHED))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
