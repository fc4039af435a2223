"""Canonical tables become a dataset folder; a split of it yields what to learn from and what to be judged by."""

from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.prepare import PrepareConfig, prepare
from medleyrec.dataset.split import SPLITS, Split, TrainingLog, leave_one_out, open_split

__all__ = [
    "SPLITS",
    "Dataset",
    "PrepareConfig",
    "Split",
    "TrainingLog",
    "leave_one_out",
    "open_split",
    "prepare",
]
