"""Kept rows: tables grow run by run, and no row is replaced by a poorer one."""

import pytest
from benchmarks import results

from medleyrec import storage
from medleyrec.evaluation.comparisons import Comparison
from medleyrec.evaluation.report import ModelRow, Report
from medleyrec.evaluation.statistics import Estimate


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "EXPECTED", {"shop": {"sasrec (id)": 3, "gru4rec (id)": 1}})
    return tmp_path


def estimate(value):
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def model(name, value, seeds):
    metrics = {metric: estimate(value) for metric in results.SHOWN}
    return ModelRow(name=name, kind="model" if seeds else "baseline", metrics=metrics, seeds=tuple(range(seeds)))


def keep(folder, *models, events=100):
    against = Comparison(
        model=models[-1].name, reference="popularity", metric="ndcg@10", difference=estimate(0.02), p=0.01, p_holm=0.03
    )
    report = Report(
        title="Medley", split="leave-one-out", candidates="log", events=events, users=100,
        models=models, comparisons=(against,),
    )  # fmt: skip
    folder.mkdir()
    storage.write_json(folder / "report.json", report.to_json())
    results.keep(folder, "shop")


POPULARITY = model("popularity", 0.05, 0)


def test_rows_of_two_reports_stand_in_one_table_and_the_rest_is_pending(folder):
    keep(folder / "one", POPULARITY, model("sasrec (id)", 0.2, 1))
    keep(folder / "two", POPULARITY, model("gru4rec (id)", 0.1, 1))
    assert results.table("shop").splitlines()[2:] == [
        "| popularity | - | 0.0500 (0.0400 to 0.0600) | 0.0500 (0.0400 to 0.0600) | 0.0500 (0.0400 to 0.0600) |",
        "| gru4rec (id) | 1 | 0.1000 (0.0900 to 0.1100) | 0.1000 (0.0900 to 0.1100) | 0.1000 (0.0900 to 0.1100) |",
        "| sasrec (id) | 1 | 0.2000 (0.1900 to 0.2100) | 0.2000 (0.1900 to 0.2100) | 0.2000 (0.1900 to 0.2100) |",
        "| sasrec (id) | 1 of 3 | pending | pending | pending |",
    ]
    assert "| gru4rec (id) | popularity | +0.0200 (+0.0100 to +0.0300) | 0.030 |" in results.pair_table("shop")


def test_a_row_of_more_seeds_stays_and_as_many_replace_it(folder, capsys):
    keep(folder / "one", POPULARITY, model("sasrec (id)", 0.2, 3))
    keep(folder / "two", POPULARITY, model("sasrec (id)", 0.3, 1))
    assert "sasrec (id): kept as it was, with 3 seeds; this report has 1" in capsys.readouterr().out
    assert "| sasrec (id) | 3 | 0.2000" in results.table("shop")
    keep(folder / "three", POPULARITY, model("sasrec (id)", 0.4, 3))
    assert "| sasrec (id) | 3 | 0.4000" in results.table("shop")
    assert "pending" in results.table("shop"), "gru4rec is"


def test_a_row_about_other_events_is_replaced_by_fewer_seeds(folder):
    keep(folder / "one", POPULARITY, model("sasrec (id)", 0.2, 3))
    keep(folder / "two", POPULARITY, model("sasrec (id)", 0.3, 1), events=50)
    assert "| sasrec (id) | 1 | 0.3000" in results.table("shop")
