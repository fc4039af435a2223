"""A run folder, opened: its record, its model with the trained weights, and recommendations from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medleyrec import storage
from medleyrec.dataset.cuts import SplitConfig, make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.evaluation.ranking import top_items
from medleyrec.models import build
from medleyrec.models.base import Frozen, SequenceModel
from medleyrec.recipes.encode import feature_identity, features_folder, load_features
from medleyrec.recipes.experiment import RUN_RECORD
from medleyrec.recipes.labels import categories_of
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import PAD, Batch, InputError, Mask
from medleyrec.training import checkpoint
from medleyrec.training.loop import BEST

RESULT = "result.json"
RARE_REPEATS = 0.05  # below this share of repeated events, recommendations leave out what the user had


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    folder: Path
    record: dict[str, Any]

    def __repr__(self) -> str:
        state = "finished" if self.result else "unfinished"
        return f"Run({self.record['label']}, seed {self.record['seed']}, {state}; {self.folder})"

    @cached_property
    def result(self) -> dict[str, Any]:
        """Empty while the run is unfinished."""
        path = self.folder / RESULT
        return dict(storage.read_json(path)) if path.exists() else {}

    @cached_property
    def dataset(self) -> Dataset:
        """Raises InputError where the project's dataset is no longer the one that the run was trained on."""
        dataset = open_dataset(self.folder.parent.parent)
        if dataset.manifest["identity"] != self.record["dataset"]:
            raise InputError(
                f"{self.folder} was trained on another dataset than {dataset.folder} now holds; prepare that one again "
                "or train anew"
            )
        return dataset

    @cached_property
    def split(self) -> Split:
        return make_split(self.dataset, SplitConfig(**self.record["split"]))

    @cached_property
    def model(self) -> SequenceModel:
        """With the trained weights, in evaluation mode."""
        split = self.split
        self._check_features()
        features = load_features(split, self.record["items"])
        model = build(
            self.record["model"]["name"],
            split.facts,
            features,
            train_items=split.in_train,
            categories=categories_of(split, self.record["model"]["name"]),
            **self.record["model"]["settings"],
        )
        checkpoint.load_weights(model, self.folder / BEST)
        return model.eval()

    @property
    def misfit(self) -> str:
        """Why its weights do not fit the vectors that are there now; empty where they do."""
        for name, known in self.record["features"].items():
            path = features_folder(self.split) / name / "manifest.json"
            now = feature_identity(storage.read_json(path)) if path.exists() else ["nothing", "", ""]
            if now[:2] != known[:2]:
                return f"its {name} vectors were those of {known[0]} (revision {known[1]}), now {now[0]}"
            if now != known:
                return f"its {name} vectors were of other contents than those of now, by the same {known[0]}"
        return ""

    def _check_features(self) -> None:
        """Weights fit the vectors they were trained on, and no others."""
        if self.misfit:
            raise InputError(
                f"{self.folder} does not fit {self.dataset.folder}: {self.misfit}; encode as before or train anew"
            )

    @property
    def described_by(self) -> str:
        """Who wrote the descriptions it was trained on; empty without any."""
        found = {e["written"] for e in self.record.get("encoders", {}).values() if "written" in e}
        return " and ".join(sorted(found))

    @cached_property
    def ranker(self) -> Frozen:
        return Frozen(self.model)

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        times: Sequence[int] | None = None,
        leave_out_seen: bool | None = None,
    ) -> list[tuple[str, float]]:
        """The k items (external id, score) most likely next after `history` (external ids, oldest first).

        times: seconds since the epoch of each event, for models that look at time; by default that of the log's end.
        leave_out_seen: by default where repeats are rare in the log. Items the model does not know are left out of the
        history; raises InputError where none is left.
        """
        data = self.dataset
        known = [(i, data.item_rows[item]) for i, item in enumerate(history) if item in data.item_rows]
        if not known:
            shown = ", ".join(repr(i) for i in list(history)[:3]) or "nothing"
            raise InputError(
                f"none of the history ({shown}) is an item of {data.folder}; check the ids, or keep rarer items with a "
                "lower prepare.min_item_events"
            )
        if times is not None and len(times) != len(history):
            raise InputError(f"{len(times)} times were given for {len(history)} items; give one for each")
        latest = int(data.manifest["facts"]["last_time"])
        clock = [latest] * len(history) if times is None else list(times)
        rows = np.array([row for _, row in known][-self.model.max_length :], np.int64)
        when = np.array([clock[i] for i, _ in known][-self.model.max_length :], np.int64)
        batch = Batch(
            torch.from_numpy(rows)[None],
            torch.from_numpy(when)[None],
            torch.tensor([len(rows)]),
            torch.zeros(1, len(rows), dtype=torch.int64),
            torch.zeros(1, dtype=torch.int64),
        )
        seen = [np.array([row for _, row in known], np.int32)] if self.leaves_out(leave_out_seen) else None
        candidates = torch.from_numpy(np.flatnonzero(self.known))
        items, scores = top_items(self.ranker, [(np.zeros(1, np.int64), batch)], candidates, k, seen=seen)
        return [
            (data.item_ids[row], float(score))
            for row, score in zip(items[0].tolist(), scores[0].tolist(), strict=True)
            if row != PAD
        ]

    @property
    def known(self) -> Mask:
        """(V,) items that were classes of its training, and that it recommends."""
        if not self.record["refit"]:
            return self.split.known
        rows = np.arange(self.dataset.num_items)
        return np.asarray((rows != PAD) & (rows < self.dataset.num_log_items))

    def leaves_out(self, wanted: bool | None) -> bool:
        """Whether items of the history are left out of recommendations."""
        return self.dataset.manifest["facts"]["repeat_rate"] < RARE_REPEATS if wanted is None else wanted


def open_run(folder: Path | str) -> Run:
    """Raises InputError where `folder` is no run."""
    folder = Path(folder).absolute()
    if not (folder / RUN_RECORD).exists():
        raise InputError(f"{folder.name} is not a run folder (no {RUN_RECORD} in it); `medley train` makes one")
    record = storage.read_json(folder / RUN_RECORD)
    if not isinstance(record, dict) or "dataset" not in record:
        raise InputError(f"{folder / RUN_RECORD} is no record of a run; delete the folder and train again")
    return Run(folder, record)


def runs_of(project: Path, *, finished: bool = True) -> list[Run]:
    """Finished runs of a project, or those that are not, refits aside, by name."""
    found = [open_run(p.parent) for p in sorted((project / "runs").glob(f"*/{RUN_RECORD}"))]
    return [run for run in found if bool(run.result) is finished and not run.record["refit"]]
