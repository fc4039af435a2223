"""Category labels of items as compressed rows: item row -> label numbers, from the FIRST path of each item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medleyrec import storage
from medleyrec.schema import CATEGORIES, Int64s


def save_categories(folder: Path) -> int:
    """Write category_offsets.npy (V + 1), category_labels.npy and labels.json; returns the number of labels."""
    numbers: dict[str, int] = {}  # label -> the number in which it came
    rows, labels, row = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 1
    for block in pq.ParquetFile(folder / "catalogue.parquet").iter_batches(columns=[CATEGORIES]):
        items, found = _first_paths(block.column(0))
        known = [numbers.setdefault(name, len(numbers)) for name in found.dictionary.to_pylist()]
        rows.append(items + row)
        labels.append(np.array(known, np.int64)[found.indices.to_numpy(zero_copy_only=False)])
        row += len(block)
    names = sorted(numbers)
    place = np.empty(len(names), np.int64)
    place[[numbers[name] for name in names]] = np.arange(len(names))
    pairs = np.sort((np.concatenate(rows) << 32) | place[np.concatenate(labels)])
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # a label counts once per item
    np.save(folder / "category_offsets.npy", np.searchsorted(pairs >> 32, np.arange(row + 1)))
    np.save(folder / "category_labels.npy", (pairs & 0xFFFFFFFF).astype(np.int32))
    storage.write_json(folder / "labels.json", names)
    return len(names)


def _first_paths(paths: pa.Array) -> tuple[Int64s, pa.DictionaryArray]:
    """(number of the item, label) of each label of an item's first path; empty ones are left out."""
    import pyarrow.compute as pc

    first = pc.list_slice(paths, 0, 1)
    path = pc.list_flatten(first)
    item = pc.list_parent_indices(first).take(pc.list_parent_indices(path))
    label = pc.list_flatten(path)
    named = pc.fill_null(pc.not_equal(label, ""), False)
    return item.filter(named).to_numpy(), label.filter(named).dictionary_encode()
