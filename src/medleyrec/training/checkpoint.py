"""Checkpoints: weights and optimiser state as safetensors, everything else as JSON; no pickle.

A checkpoint is a folder that appears whole under a new name before the older one is removed, so at any moment at least
one is complete.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medleyrec import storage
from medleyrec.schema import InputError

PREFIX = "checkpoint-"


def save_weights(model: nn.Module, path: Path) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with storage.atomic_file(path) as partial:
        save_file(state, str(partial))


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises InputError where the file is missing, damaged, or of another shape."""
    if not path.exists():
        raise InputError(f"{path} does not exist: the run has no trained weights yet; run `medley train` to its end")
    try:
        model.load_state_dict(load_file(str(path)))
    except (SafetensorError, RuntimeError, OSError) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"{path} does not fit the model ({told}); train again or restore the file") from None


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write ``checkpoint-<steps>-<epoch>``, then drop older ones; `state` must be JSON and hold "steps" and "epoch"."""
    target = folder / f"{PREFIX}{state['steps']:09d}-{state['epoch']:06d}"
    with storage.atomic_folder(target) as partial:
        save_weights(model, partial / "model.safetensors")
        save_file(_flat(optimizer), str(partial / "optimizer.safetensors"))
        storage.write_json(partial / "state.json", state)
    for old in _found(folder):
        if old != target:
            shutil.rmtree(old)


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore the newest checkpoint and return its state; None where there is none."""
    found = _found(folder)
    if not found:
        return None
    load_weights(model, found[-1] / "model.safetensors")
    try:
        _unflatten(optimizer, load_file(str(found[-1] / "optimizer.safetensors")))
    except (SafetensorError, OSError, ValueError) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"{found[-1]} is damaged ({told}); delete it to start the run anew") from None
    state: dict[str, Any] = storage.read_json(found[-1] / "state.json")
    return state


def drop_checkpoints(folder: Path) -> None:
    for old in _found(folder):
        shutil.rmtree(old)


def _found(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob(f"{PREFIX}*") if (p / "state.json").exists())


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in state.items()
        for key, value in values.items()
    }


def _unflatten(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
