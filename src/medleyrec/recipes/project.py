"""A project folder from Python: prepare, encode, fit, evaluate, recommend; external ids in and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medleyrec.dataset.audit import Audit
from medleyrec.dataset.dataset import Dataset
from medleyrec.evaluation.report import Report
from medleyrec.features import FeatureReport
from medleyrec.recipes.append import run_append
from medleyrec.recipes.audit import run_audit
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.evaluate import run_evaluate
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset, run_prepare
from medleyrec.recipes.run import Run
from medleyrec.recipes.train import run_train
from medleyrec.recipes.vectors import run_vectors
from medleyrec.sources.frames import is_frame


class Project:
    """A folder that holds a dataset, encoded content and runs. Every step finds what is finished and does the rest.

    The sections of a medley.toml are given as keyword arguments: ``fit("sasrec", items=["id"], train={"seed": 1})``.
    """

    def __init__(self, folder: Path | str, *, listener: Listener | None = None) -> None:
        self.folder = Path(folder)
        self.listener = listener or Listener()

    def __repr__(self) -> str:
        return f"Project({self.folder})"

    @property
    def dataset(self) -> Dataset:
        return open_dataset(self.folder)

    def prepare(self, interactions: Any = None, *, kind: str = "tables", **sections: Any) -> Dataset:
        """From your files or data frames (pandas, Polars, Arrow), or from another source: ``prepare(kind="bazaar")``.

        `prepare={...}` holds its options, `split={...}` those of the split; the rest goes to the source.
        """
        if kind == "tables" and interactions is not None and is_frame(interactions):
            kind = "frames"
        options, split = sections.pop("prepare", {}), sections.pop("split", None)
        source = {"kind": kind, **sections}
        if interactions is not None:
            source["interactions"] = interactions
        chosen = {} if split is None else {"split": split}
        return run_prepare(self._experiment(source=source, prepare=options, **chosen), self.listener)

    def append(
        self, interactions: Path | str | None = None, *, items: Path | str | None = None, **sections: Any
    ) -> Dataset:
        """New events and new items: the dataset becomes what all of the input at once would give."""
        events = () if interactions is None else (Path(interactions),)
        goods = () if items is None else (Path(items),)
        return run_append(self._experiment(**sections), self.listener, interactions=events, items=goods)

    def encode(self, **encoders: Any) -> dict[str, FeatureReport]:
        """``encode(text="tfidf-svd", image="none")``; both kinds of content by default."""
        return run_encode(self._experiment(encode=encoders), self.listener)

    def vectors(self, file: Path | str, table: str, **options: Any) -> FeatureReport:
        """Vectors that you have already: ``vectors("clip.parquet", "image", id_column="sku")``."""
        return run_vectors(self._experiment(), Path(file), self.listener, table=table, **options)

    def fit(
        self,
        model: str = "sasrec",
        *,
        train: dict[str, Any] | None = None,
        split: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Run:
        """Train to the end of patience, or find the finished run. Raises KeyboardInterrupt after a clean Ctrl-C."""
        sections: dict[str, Any] = {"model": {"name": model, "settings": settings}, "train": train or {}}
        if split is not None:
            sections["split"] = split
        run, interrupted = run_train(self._experiment(**sections), self.listener)
        if interrupted:
            raise KeyboardInterrupt(f"{run.folder} is saved; call fit again to go on")
        return run

    def evaluate(
        self, runs: Run | Sequence[Run] = (), *, split: dict[str, Any] | None = None, **options: Any
    ) -> Report:
        """On the test events, beside the baselines; all finished runs by default. Writes report.html."""
        chosen = [runs] if isinstance(runs, Run) else list(runs)
        sections: dict[str, Any] = {"evaluate": options} if split is None else {"evaluate": options, "split": split}
        return run_evaluate(self._experiment(**sections), self.listener, runs=chosen)

    def audit(self, *, probes: bool = True) -> Audit:
        """What is odd about the data and its split; without `probes` the log alone, no models, texts or pictures."""
        return run_audit(self._experiment(), self.listener, probes=probes)

    def _experiment(self, **sections: Any) -> Any:
        return load_experiment(self.folder, flags=sections)
