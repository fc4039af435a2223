"""Category labels of items as compressed rows: item row -> label numbers, from the FIRST path of each item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from medleyrec import storage


def save_categories(folder: Path) -> int:
    """Write category_offsets.npy (V + 1), category_labels.npy and labels.json; returns the number of labels."""
    paths = pq.read_table(folder / "catalogue.parquet", columns=["categories"]).column(0).combine_chunks()
    first = [p[0] if p else [] for p in paths.to_pylist()]
    clean = [sorted({label for label in path if label}) for path in first]
    labels = sorted({label for path in clean for label in path})
    number = {label: n for n, label in enumerate(labels)}
    lengths = np.array([0, *(len(path) for path in clean)], np.int64)
    np.save(folder / "category_offsets.npy", np.concatenate([[0], lengths.cumsum()]))
    np.save(folder / "category_labels.npy", np.array([number[x] for path in clean for x in path], np.int32))
    storage.write_json(folder / "labels.json", labels)
    return len(labels)
