"""The planted truth is found, and nothing is found in its noise twin: the demo, held to its claims."""

import pytest

from medleyrec.recipes.demo import run_demo
from medleyrec.recipes.listener import Listener

IDS, ALL = "sasrec (id)", "sasrec (id + text + image)"


@pytest.mark.slow
def test_content_beats_ids_and_ids_beat_popularity(tmp_path):
    report = run_demo(tmp_path / "bazaar", Listener())
    value = {row.name: row.metrics["ndcg@10"] for row in report.models}
    assert value[ALL].low > value[IDS].high
    assert value[IDS].low > value["popularity"].high
    assert 0 < report.row(ALL).oracle_share < 1


@pytest.mark.slow
def test_nothing_is_found_in_the_noise_twin(tmp_path):
    report = run_demo(tmp_path / "twin", Listener(), noise=True)
    found = [c for c in report.comparisons if c.reference == "popularity"]
    assert {c.model for c in found} >= {IDS, ALL}
    assert not [c for c in found if c.shown]
