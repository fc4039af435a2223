"""Fetching a model from the Hugging Face hub, after saying so; nothing else here uses the network."""

from __future__ import annotations

import os
from collections.abc import Callable

from medleyrec.features.pretrained.files import FETCHED
from medleyrec.features.pretrained.loading import first_line, quiet
from medleyrec.features.pretrained.place import MODEL_NAMES, Place, find_model, is_hub_name
from medleyrec.schema import InputError

Say = Callable[[str], None]
Download = Callable[[str, str | None], None]


def fetched(
    model: str, commit: str | None = None, *, offline: bool = False, say: Say, download: Download | None = None
) -> Place:
    """The model, from a folder, the local cache, or else the hub, which `offline` forbids.

    Raises InputError where it is nowhere, where its weights are pickles, or where the hub does not answer.
    """
    place = find_model(model, commit)
    if place is not None:
        return place
    if not is_hub_name(model):
        raise InputError(_unknown(model))
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise InputError(
            f"the model {model} is in no folder here and not in the local cache, and fetching it is forbidden "
            "(--offline); allow it, or name the folder in which it lies"
        )
    say(
        f"{model} is in no folder here and not in the local cache: its configuration, tokenizer and weights are "
        "fetched from the Hugging Face hub now, once (--offline forbids it)."
    )
    (download or _download)(model, commit)
    place = find_model(model, commit)
    if place is None:
        raise InputError(f"{model} was fetched, but is not a whole model; see its page on the hub, or take another")
    return place


def _unknown(model: str) -> str:
    known = ", ".join(["tfidf-svd", "descriptors", *MODEL_NAMES])
    return (
        f"there is no encoder {model!r}: give {known}, a folder of a Hugging Face model, or a name on the hub such as "
        "sentence-transformers/all-MiniLM-L6-v2"
    )


def _download(model: str, commit: str | None) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        with quiet():
            _refuse_pickles(model, [s.rfilename for s in HfApi().model_info(model, revision=commit).siblings or ()])
            snapshot_download(model, revision=commit, **FETCHED)
    except InputError:
        raise
    except GatedRepoError:
        raise InputError(
            f"the hub gives {model} only to those who accepted its terms: accept them on its page and set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"the hub has no commit {commit!r} of {model}; mend encode.*_settings.commit") from None
    except RepositoryNotFoundError:
        raise InputError(f"the hub has no model {model}, or it is private; check its name, or set HF_TOKEN") from None
    except Exception as error:  # whatever the client's network library raises
        raise InputError(
            f"{model} could not be fetched ({first_line(error)}); run again to go on where it stopped, or name a folder"
        ) from None


def _refuse_pickles(model: str, files: list[str]) -> None:
    if not any(name.endswith(".safetensors") for name in files):
        raise InputError(
            f"{model} has no weights as .safetensors on the hub; pickles are never read: take another model, or "
            "convert it and name the folder"
        )
