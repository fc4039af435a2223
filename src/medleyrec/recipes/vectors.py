"""Vectors that somebody else made become a feature table of a project, and are kept for its later datasets."""

from __future__ import annotations

import re
from pathlib import Path

from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.features import FeatureReport, VectorStore
from medleyrec.features.imported import NO_VECTOR, ZERO, Given, ImportedEncoder, imported_name
from medleyrec.features.vector_files import read_ids, read_vectors
from medleyrec.recipes.contents import Ids
from medleyrec.recipes.encode import Wanted, write_table
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import FEATURES, TEXT, InputError

SHOWN = 3


def run_vectors(
    experiment: Experiment,
    file: Path,
    listener: Listener,
    *,
    table: str,
    ids: Path | None = None,
    id_column: str | None = None,
    name: str | None = None,
    in_order: bool = False,
    key: str | None = None,
) -> FeatureReport:
    """Write ``<project>/dataset/features/<split>/<table>`` from a file of vectors; rows belong to items by id.

    The vectors are scaled to norm 1 and kept under `name` (by default the file's), for `encode --text imported:NAME`.
    """
    if table not in FEATURES:
        raise InputError(f"--as {table} is no table of vectors; there are: {', '.join(FEATURES)}")
    dataset = open_dataset(experiment.project)
    label = name or re.sub(r"[^A-Za-z0-9._-]", "-", file.stem).strip(".-")
    imported_name(label)
    given = _given(dataset, file, ids=ids, id_column=id_column, in_order=in_order, key=key)
    _tell_unknown(dataset, given, file, listener)
    encoder = ImportedEncoder.of(label, given)
    split, store = make_split(dataset, experiment.split), VectorStore(experiment.project / "store")
    store.keep_fitted(table, encoder)
    wanted = Wanted(table=table, modality=TEXT, contents=Ids(dataset))
    report = write_table(wanted, encoder, split, store, listener)
    _tell_missing(dataset, report, label, listener)
    return report


def _given(
    dataset: Dataset, file: Path, *, ids: Path | None, id_column: str | None, in_order: bool, key: str | None
) -> Given:
    vectors, found = read_vectors(file, id_column=id_column, key=key)
    if in_order:
        if ids is not None or found is not None:
            raise InputError(f"{ids or file} names the items already; leave --in-order out")
        return _in_order(dataset, file, vectors)
    chosen = read_ids(ids, id_column) if ids is not None else found
    if chosen is None:
        raise InputError(
            f"{file} does not say which items its rows belong to; give --ids FILE (one id for each row, in their "
            "order), or --in-order where row 1 is the first item of dataset/catalogue.parquet"
        )
    return Given(chosen, vectors)


def _in_order(dataset: Dataset, file: Path, vectors: object) -> Given:
    import numpy as np

    rows, items = np.asarray(vectors), dataset.num_items - 1
    if rows.ndim == 2 and len(rows) != items:
        hint = "; leave the padding row out" if len(rows) == items + 1 else ""
        raise InputError(f"{file} has {len(rows):,} rows and the dataset {items:,} items: they are in no order{hint}")
    return Given(dataset.item_ids[1:], rows)


def _tell_unknown(dataset: Dataset, given: Given, file: Path, listener: Listener) -> None:
    unknown = [name for name in given.ids if name not in dataset.item_rows]
    if len(unknown) == len(given):
        raise InputError(
            f"none of the {len(given):,} ids of {file} (such as {_some(unknown)}) is an item of this dataset (such as "
            f"{_some(dataset.item_ids[1:])}); give the ids of the log"
        )
    if unknown:
        listener.say(
            f"{len(unknown):,} of {len(given):,} ids are no items of this dataset, such as {_some(unknown)}; their "
            "vectors are kept for later."
        )


def _tell_missing(dataset: Dataset, report: FeatureReport, label: str, listener: Listener) -> None:
    for reason, told in ((NO_VECTOR, "have no vector in"), (ZERO, "have nothing but zeros in")):
        if count := report.missing.get(reason):
            some = _some([dataset.item_ids[row] for row in report.examples[reason]])
            listener.say(f"{count:,} of {report.total:,} items {told} {label}, such as {some}.")


def _some(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:SHOWN])
