"""Nested numbers in a file: torch files read with weights_only, or safetensors with the rest as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medleyrec import storage
from medleyrec.schema import InputError

SEPARATOR, HEADER = "/", "medley"


def read_numbers(path: Path) -> dict[str, Any]:
    """Raises InputError where the file is missing, damaged, or holds more than tensors and plain values."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a .pt or .safetensors file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a file that is none makes of the reader: it has no error of its own
        raise InputError(
            f"{path} is not a torch file of tensors and plain values alone; save a dict of tensors with torch.save"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, a dict of tensors is needed")
    return found


def save_numbers(numbers: Mapping[str, Any], path: Path) -> None:
    """Write nested dicts of tensors, and of values that are JSON, as one safetensors file."""
    from safetensors.torch import save_file

    leaves = dict(_leaves(numbers))
    tensors = {name: value.contiguous() for name, value in leaves.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in leaves.items() if not isinstance(value, Tensor)}
    with storage.atomic_file(path) as partial:
        save_file(tensors, str(partial), {HEADER: json.dumps(plain)})


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            leaves = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            leaves |= json.loads((file.metadata() or {}).get(HEADER, "{}"))
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged ({told}); write it again") from None
    nested: dict[str, Any] = {}
    for name, value in leaves.items():
        *folders, last = name.split(SEPARATOR)
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return nested


def _leaves(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}{SEPARATOR}")
        else:
            yield f"{prefix}{name}", value
