"""Medley: from a log and a catalogue to an honestly evaluated next-item recommender.

    import medleyrec as medley
    shop = medley.Project("shop")

Names are imported when they are used; importing the package itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medleyrec.dataset.dataset import Dataset
    from medleyrec.recipes.project import Project
    from medleyrec.recipes.run import Run, open_run
    from medleyrec.schema import InputError

_HOMES = {
    "Dataset": "medleyrec.dataset.dataset",
    "InputError": "medleyrec.schema",
    "Project": "medleyrec.recipes.project",
    "Run": "medleyrec.recipes.run",
    "open_run": "medleyrec.recipes.run",
}

__all__ = ["Dataset", "InputError", "Project", "Run", "open_run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medleyrec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
