"""Files of vectors that somebody else made: .npy, .pt, .safetensors and Parquet; and files of the ids of their rows.

Letters:  n vectors   D width

No pickle is read: .npy without objects, .pt with weights only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medleyrec.schema import ITEM, InputError

KINDS = (".npy", ".pt", ".pth", ".safetensors", ".parquet")
ID_KEYS = (ITEM, "item_ids", "ids")
Table = NDArray[Any]  # (n, D)


def read_vectors(path: Path, *, id_column: str | None = None, key: str | None = None) -> tuple[Table, list[str] | None]:
    """The vectors and, where the file names them, the ids of its rows.

    `key` names the tensor or the list column where there are several. Raises InputError for what cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a file of vectors ({', '.join(KINDS)})")
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            return _from_numpy(path), None
        if kind in (".pt", ".pth"):
            return _from_torch(path, id_column, key)
        if kind == ".safetensors":
            return _from_safetensors(path, key), None
        if kind == ".parquet":
            return _from_parquet(path, id_column, key)
    except InputError:
        raise
    except Exception as error:  # whatever these libraries raise at a damaged file
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path} cannot be read ({told}); write it again, without Python objects in it") from None
    raise InputError(f"{path} is of no known kind; vectors are read from {', '.join(KINDS)}")


def read_ids(path: Path, id_column: str | None = None) -> list[str]:
    """Ids of rows, in order: a JSON list, a CSV with a column of ids, or one id a line."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a file with one id a line, a CSV, or a JSON list")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; convert it to UTF-8") from None
    if path.suffix.lower() == ".json":
        return _json_ids(path, text)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv_ids(path, text, id_column)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _json_ids(path: Path, text: str) -> list[str]:
    try:
        ids = json.loads(text)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and numbers of thousands of digits among them
        raise InputError(f"{path} is not valid JSON ({error}); write a list of ids") from None
    if not isinstance(ids, list) or not all(isinstance(i, str | int) and not isinstance(i, bool) for i in ids):
        raise InputError(f'{path} is not a JSON list of ids; write one such as ["A17", "B03"]')
    return [str(i) for i in ids]


def _csv_ids(path: Path, text: str, id_column: str | None) -> list[str]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(f"{path} is not valid CSV ({error}); mend it, or write one id a line") from None
    if not rows:
        raise InputError(f"{path} is empty; write one id a line")
    wanted = id_column or ITEM
    if wanted in rows[0]:
        place = rows[0].index(wanted)
        return [row[place].strip() if place < len(row) else "" for row in rows[1:]]
    if id_column or len(rows[0]) > 1:
        raise InputError(f"{path} has no column {wanted!r} (there are: {', '.join(rows[0][:8])}); give --id-column")
    return [row[0].strip() for row in rows]


def _from_numpy(path: Path) -> Table:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray):  # an .npz by its content
        raise InputError(f"{path} holds several arrays; save the one of vectors alone, np.save(...)")
    return found


def _from_torch(path: Path, id_column: str | None, key: str | None) -> tuple[Table, list[str] | None]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise InputError(
            f"{path} holds more than tensors, or is damaged; objects are never read: save the tensor alone, "
            "torch.save(vectors, ...)"
        ) from None
    if not isinstance(found, Mapping):
        return _table(found), None
    ids = next((found[k] for k in ((id_column,) if id_column else ID_KEYS) if k in found), None)
    tensors = {str(k): v for k, v in found.items() if getattr(v, "ndim", 0) == 2}
    return _table(tensors[_one(path, sorted(tensors), key)]), None if ids is None else [str(i) for i in _plain(ids)]


def _from_safetensors(path: Path, key: str | None) -> Table:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        names = [name for name in sorted(file.keys()) if len(file.get_slice(name).get_shape()) == 2]
        return _table(file.get_tensor(_one(path, names, key)))


def _from_parquet(path: Path, id_column: str | None, key: str | None) -> tuple[Table, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    told = id_column or ITEM
    if told not in names:
        raise InputError(f"{path} has no column {told!r} (there are: {', '.join(names[:8])}); give --id-column")
    types = {name: file.schema_arrow.field(name).type for name in names if name != told}
    lists = [n for n, t in types.items() if pa.types.is_list(t) or pa.types.is_large_list(t) or _fixed(t)]
    numbers = [n for n, t in types.items() if pa.types.is_integer(t) or pa.types.is_floating(t)]
    if not lists and not numbers:
        raise InputError(f"{path} has no column of numbers or lists of numbers beside {told!r}")
    chosen = [_one(path, sorted(lists), key)] if lists else numbers
    table = file.read(columns=[told, *chosen])  # other columns may be texts and pictures
    ids = ["" if i is None else str(i) for i in table.column(told).to_pylist()]
    if lists:
        return _listed(table.column(chosen[0]), ids), ids
    return np.stack([_floats(table.column(n)) for n in numbers], axis=1), ids


def _fixed(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(kind))


def _listed(column: Any, ids: list[str]) -> Table:
    """A column of lists -> (n, D). Raises InputError naming an item whose list has another length."""
    import pyarrow.compute as pc

    lengths = np.asarray(pc.list_value_length(column).fill_null(0).to_numpy())
    odd = np.flatnonzero(lengths != lengths[0]) if len(lengths) else lengths
    if len(odd):
        raise InputError(
            f"the vector of item {ids[odd[0]]!r} (row {odd[0] + 1}) has {lengths[odd[0]]} numbers, that of the first "
            f"row {lengths[0]}; all must have as many"
        )
    width = int(lengths[0]) if len(lengths) else 0
    return _floats(pc.list_flatten(column)).reshape(len(lengths), width)


def _floats(column: Any) -> NDArray[Any]:
    """Absent numbers become NaN, which the checks name; what float32 cannot hold stays float64."""
    import pyarrow as pa

    narrow = pa.types.is_float16(column.type) or pa.types.is_float32(column.type)
    found: NDArray[Any] = column.cast(pa.float32() if narrow else pa.float64(), safe=False).to_numpy()
    return found


def _one(path: Path, names: list[str], key: str | None) -> str:
    if key is not None and key not in names:
        raise InputError(f"{path} has no vectors named {key!r} (there are: {', '.join(names) or 'none'}); mend --key")
    if key is None and len(names) != 1:
        told = (
            f"{len(names)} tables of vectors ({', '.join(names[:8])}); choose one with --key"
            if names
            else ("no table of (items, numbers); save one")
        )
        raise InputError(f"{path} holds {told}")
    return key or names[0]


def _table(found: Any) -> Table:
    tensor = found.detach()
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _plain(ids: Any) -> list[Any]:
    if not (hasattr(ids, "tolist") or isinstance(ids, list | tuple)) or getattr(ids, "ndim", 1) != 1:
        raise InputError(f"the ids beside the vectors are {str(ids)[:40]!r}, not a list; save one id for each vector")
    return list(ids.tolist()) if hasattr(ids, "tolist") else list(ids)
