"""The encoders on real posters and titles; skipped where the data are absent."""

import os
from pathlib import Path

import numpy as np
import pytest

from medleyrec.features import VectorStore, encode_items, encoder_class, open_table
from medleyrec.features.text import item_text

DATA = Path(os.environ.get("MEDLEY_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")


def column(path, names, rows):
    if not (DATA / path).exists():
        pytest.skip(f"{DATA / path} is absent; set MEDLEY_DATA to the folder of the real data")
    import pyarrow.parquet as pq

    return pq.read_table(DATA / path, columns=names).slice(0, rows).to_pylist()


def test_posters(tmp_path):
    posters = [row["jpeg"] for row in column("ml-latest-small-posters/images.parquet", ["jpeg"], 240)]
    kind = encoder_class("descriptors")
    encoder = kind.fit(posters, kind.settings(width=64))
    report = encode_items(posters, encoder, VectorStore(tmp_path / "store"), tmp_path / "image")
    vectors, present = open_table(tmp_path / "image")
    assert not report.missing
    assert vectors.shape == (241, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors[present].astype(float), axis=1), 1, atol=2e-3)


def test_titles_of_one_category_are_nearer():
    items = column("amazon-beauty-2014-5core/items.parquet", ["title", "categories"], 3000)
    leaves = np.array([item["categories"][-1] for item in items])
    titles = [item_text(item["title"]).encode() for item in items]  # the category itself is kept out
    found = encoder_class("tfidf-svd").fit(titles).encode(titles)
    vectors = found.vectors[:1000]
    likeness = vectors @ vectors.T
    same = leaves[:1000, None] == leaves[:1000]
    off = ~np.eye(1000, dtype=bool)
    assert likeness[same & off].mean() > 3 * likeness[~same].mean()
