"""Canonical tables become a dataset folder; a split of it yields what to learn from and what to be judged by."""

from medleyrec.dataset.cuts import SPLITS, SplitConfig, leave_one_out, make_split, time_cut
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.prepare import PrepareConfig, prepare
from medleyrec.dataset.split import Split, TrainingLog, open_split

__all__ = [
    "SPLITS",
    "Dataset",
    "PrepareConfig",
    "Split",
    "SplitConfig",
    "TrainingLog",
    "leave_one_out",
    "make_split",
    "open_split",
    "prepare",
    "time_cut",
]
