"""Looking into a trained HM4SR: tables whose numbers are known or follow from the scores."""

import json

import pytest
import torch

from medleyrec.recipes import inspect_tables
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.inspect import run_inspect
from medleyrec.recipes.inspect_hm4sr import SHORT_LONG
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.ranking import batches_of, candidates_of
from medleyrec.recipes.train import run_train
from medleyrec.schema import TEST, InputError
from tests.worlds import DAY, START, small

HOUR = 3600


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Everyone's events come in pairs: half an hour apart, then 20 days later."""
    folder = tmp_path_factory.mktemp("shop")
    log = [
        (
            f"u{u:02d}",
            f"i{(u + t) % 7}",
            START - START % DAY + HOUR * (u % 24) + (t // 2) * 20 * DAY + (t % 2) * HOUR // 2,
        )
        for u in range(24)
        for t in range(8)
    ]
    small(folder / "dataset", log)
    return folder


def trained(shop, name="hm4sr", **settings):
    model = {"name": name, "settings": {"width": 8, "max_length": 8, "dropout": 0.0, **settings}}
    experiment = load_experiment(shop, flags={"model": model, "train": {"epochs": 1, "softmax_chunk": 64}})
    return run_train(experiment, Listener())[0]


def insight(run, out, **options):
    return run_inspect(run, Listener(), out=out, **options)


def table(found, title):
    return next(t for t in found.tables if title in t.title)


def test_routes_that_follow_the_gap_are_found(shop, tmp_path):
    run = trained(shop, interval_scale=1)
    with torch.no_grad():
        time, gate = run.model.time, run.model.temporal.gate
        time.intervals.weight.zero_()
        gate.weight.zero_()
        gate.bias.zero_()
        time.intervals.weight[10, 0] = 1.0  # floor(log2(1801)): half an hour
        gate.weight[0, 0] = 100.0
    found = insight(run, tmp_path)
    assert found.figures[SHORT_LONG] == pytest.approx(1 - 1 / 4, abs=1e-6), "one expert against all four alike"
    by_gap = table(found, "route by the gap")
    assert set(by_gap.rows) == {"hour", "month"}
    assert by_gap.rows["hour"] == pytest.approx((1, 0, 0, 0), abs=1e-6)
    assert by_gap.rows["month"] == pytest.approx((0.25,) * 4, abs=1e-6)
    assert by_gap.count == {"hour": 24 * 3, "month": 24 * 3}, "the history of the test event has 7 events"
    told = json.loads((tmp_path / "inspect.json").read_text())
    assert told["figures"][SHORT_LONG] == found.figures[SHORT_LONG]
    assert [t["title"] for t in told["tables"]] == [t.title for t in found.tables]
    page = (tmp_path / "inspect.html").read_text()
    assert "0.7500" in page
    assert "not causation" in page
    assert all(t.title in page for t in found.tables)
    assert page.count('<section aria-labelledby="t') == len(found.tables)


def test_interval_vectors_of_two_classes_point_away_from_each_other(shop, tmp_path):
    """With two classes, each less the mean of both: cosine -1; and 1 with itself."""
    cosines = table(insight(trained(shop), tmp_path), "Interval embedding")
    assert cosines.columns == ("hour", "month")
    assert cosines.rows["hour"] == pytest.approx((1, -1), abs=1e-6)
    assert cosines.rows["month"] == pytest.approx((-1, 1), abs=1e-6)


def test_expert_use_and_collapse(shop, tmp_path):
    run = trained(shop)
    with torch.no_grad():
        run.model.interactive.gates.zero_()
        run.model.interactive.gate_bias.zero_()
    found = insight(run, tmp_path)
    assert table(found, "share of each expert").rows["id"] == pytest.approx((0.25,) * 4, abs=1e-6)
    assert table(found, "collapse").rows["id"] == (1, 0, 0, 0, 0)
    evenness = next(name for name in found.figures if "evenness" in name)
    assert found.figures[evenness] == pytest.approx(1)
    with torch.no_grad():
        run.model.interactive.gate_bias[0, 2] = 100.0
    found = insight(run, tmp_path)
    assert table(found, "share of each expert").rows["id"] == pytest.approx((0, 0, 1, 0), abs=1e-6)
    assert table(found, "collapse").rows["id"] == (0, 0, 0, 0, 1)
    assert found.figures[evenness] == pytest.approx(0, abs=1e-6)


def test_score_parts_add_up_to_the_centred_score(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(inspect_tables, "HIT", 2)  # of seven items all are among the first ten
    run = trained(shop)
    parts = table(insight(run, tmp_path), "by tower")
    events, total, hits = run.split.eval_events(TEST), 0.0, 0
    for rows, batch in batches_of(run.split, events, max_length=8):
        scores = run.ranker.scores(batch, candidates_of(run.split)).double()
        target = torch.from_numpy(events.targets[rows].astype("int64")) - 1
        own = scores.gather(1, target[:, None])
        hits += int(((scores > own).sum(1) < 2).sum())
        total += (scores.gather(1, target[:, None])[:, 0] - scores.mean(1)).sum().item()
    counted = sum(parts.count[name] * sum(row) for name, row in parts.rows.items())
    assert counted == pytest.approx(total, rel=1e-4)
    assert parts.count == {"hit@2": hits, "miss": len(events) - hits}


def test_what_is_off_is_left_out_and_a_model_of_ids_alone_is_refused(shop, tmp_path):
    plain = insight(trained(shop, interactive=False, temporal=False, pcl=0), tmp_path)
    assert [t.title.split(":")[0] for t in plain.tables] == ["Score of the target by tower, above the mean candidate"]
    assert plain.figures == {}
    with pytest.raises(InputError, match=r"is a sasrec \(id\): it looks at ids alone"):
        insight(trained(shop, "sasrec"), tmp_path)
