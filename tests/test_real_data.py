"""Facts of the real sets that are known from elsewhere; skipped where the data is absent."""

import pytest

from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import run_prepare


def prepared(folder, source):
    flags = {"source": {"kind": "tables", "interactions": str(source)}}
    return run_prepare(load_experiment(folder, flags=flags), Listener())


def test_beauty(real_data, tmp_path):
    data = prepared(tmp_path / "beauty", real_data("amazon-beauty-2014-5core"))
    assert (len(data), data.num_items - 1, len(data.items)) == (22_363, 12_101, 198_502)
    assert data.manifest["facts"]["tied_consecutive_events"] == pytest.approx(0.439, abs=5e-4)
    assert data.manifest["facts"]["users_with_last_two_tied"] == pytest.approx(0.435, abs=5e-4)
    assert len(data.labels) == 202


@pytest.mark.slow
def test_films_with_their_posters(real_data, tmp_path):
    data = prepared(tmp_path / "films", real_data("ml-latest-small-posters"))
    reports = run_encode(load_experiment(tmp_path / "films"), Listener())
    assert len(data) == 610
    assert reports["image"].encoded == pytest.approx(0.993 * (data.num_items - 1), rel=0.01)
    assert reports["text"].missing == {}
