"""The files of a model folder that decide its vectors, and what is refused before a library opens them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from medleyrec.schema import InputError
from medleyrec.storage import hash_file, read_json

EXTRA = "pretrained encoders need more packages: pip install 'medleyrec[features]'"
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Configuration, weights, vocabularies, templates: what is fetched."""
DECISIVE = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "modules.json",
    "sentence_*_config.json",
    "router_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
)
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "*.model", "*.tiktoken")
"""Read only where there is no tokenizer.json."""
OTHER_FORMATS = ("onnx", "openvino", "coreml", "original", "gguf")
"""Folders in which repositories keep the same weights once more, for other programs."""
FETCHED: dict[str, Any] = {
    "allow_patterns": list(PATTERNS),
    "ignore_patterns": [f"{folder}/*" for folder in OTHER_FORMATS],
}
"""What is fetched of a repository, and what must be in the hub's cache for a model to be whole."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def model_files(folder: Path) -> list[Path]:
    """The files that decide vectors, in the order of their names; the hub's cache may hold others, or come to."""
    patterns = DECISIVE if list(folder.rglob("tokenizer.json")) else DECISIVE + VOCABULARIES
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    return sorted(path for path in found if _counts(path.relative_to(folder)))


def file_hashes(folder: Path) -> dict[str, str]:
    """Relative name -> hash of the content."""
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in model_files(folder)}


def _counts(relative: Path) -> bool:
    return relative.parts[0] not in OTHER_FORMATS and not any(part.startswith(".") for part in relative.parts)


def lacks(folder: Path) -> str | None:
    """What a model folder needs to be whole, for example after a download that was cut; None where it is whole."""
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        return "config.json"
    for index in folder.rglob("*.safetensors.index.json"):
        told = read_json(index)
        shards = told.get("weight_map") if isinstance(told, dict) else None
        for shard in sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else ():
            if not (index.parent / shard).is_file():
                return shard
    if not any(path.suffix == ".safetensors" for path in model_files(folder)):
        return "weights as .safetensors"
    return None


def refuse_unsafe(folder: Path, name: str) -> None:
    """Raises InputError for weights that are pickles only, and for models that bring code of their own."""
    for path in sorted(path for pattern in PICKLES for path in folder.rglob(pattern)):
        relative = path.relative_to(folder)
        if _counts(relative) and _is_weights(path) and not list(path.parent.glob("*.safetensors")):
            raise InputError(
                f"the weights of {name} are in {relative.as_posix()}, a pickle, which is never read; convert them to "
                ".safetensors (save_pretrained of transformers does it) or take another model"
            )
    for module in _modules(folder):
        if not module.startswith("sentence_transformers."):
            raise InputError(f"{name} brings code of its own ({module}), which is never run; take another model")
    for config in sorted(folder.rglob("config.json")):
        if _counts(config.relative_to(folder)) and _own_code(config):
            raise InputError(
                f"{name} brings code of its own (auto_map in its config), which is never run; take another"
            )


def _is_weights(path: Path) -> bool:
    return path.name.startswith(("pytorch_model", "model", "adapter_model"))


def _modules(folder: Path) -> list[str]:
    if not (folder / "modules.json").is_file():
        return []
    listed = read_json(folder / "modules.json")
    return [str(m.get("type", "")) for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []


def _own_code(config: Path) -> bool:
    """A model whose class transformers has itself needs no code of its own, whatever the map offers."""
    told = read_json(config)
    if not isinstance(told, dict) or "auto_map" not in told:
        return False
    try:
        known: Any = import_module("transformers.models.auto.configuration_auto")
    except ImportError:
        raise InputError(EXTRA) from None
    return told.get("model_type") not in known.CONFIG_MAPPING_NAMES


def folder_name(folder: Path) -> str:
    """How a model without a hub name is called: its folder, else what its config says of it."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    return folder.resolve().name or str(told.get("model_type", "model"))
