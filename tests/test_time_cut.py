"""The global time cut: what lies after it teaches nothing, and no event after it is dropped."""

import datetime

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import medleyrec as medley
from medleyrec.dataset import PrepareConfig, SplitConfig, make_split, prepare, time_cut
from medleyrec.evaluation.slices import of_events
from medleyrec.models import baseline, build
from medleyrec.recipes.encode import features_folder, run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.ranking import CATALOGUE, KNOWN, LOG, candidates_of, fitted_baseline, ranks_of
from medleyrec.schema import PAD, TEST, VALIDATION, InputError
from medleyrec.training.module import TrainingModule
from tests.worlds import DAY, START, batch, tables, taught

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)
WORDS = ["red", "green", "blue", "gold", "round", "square", "soft", "hard", "old", "new"]


def goods(items):
    return [
        {
            "item_id": i,
            "title": f"{WORDS[hash_of(i) % 10]} {WORDS[hash_of(i) % 7]} thing",
            "categories": [["all", i[:2]]],
        }
        for i in sorted(set(items))
    ]


def hash_of(item):
    return sum(map(ord, item))


def dataset(folder, events, **options):
    config = PrepareConfig(**{"min_user_events": 1, "min_item_events": 1, **options})
    return prepare(tables(events, goods(e[1] for e in events)), folder, config)[0]


def by_hand(tmp_path):
    return dataset(tmp_path / "d", by_hand_log())


def by_hand_log():
    """Cuts at 100 and 200 seconds. c is new at the first cut, d at the second; z is new after training."""
    return [
        *[("a", i, t) for i, t in (("w", 10), ("x", 50), ("y", 100), ("x", 150), ("w", 200), ("z", 250))],
        *[("b", i, t) for i, t in (("x", 20), ("y", 90), ("y", 210))],
        *[("c", i, t) for i, t in (("z", 120), ("w", 220))],
        ("d", "x", 230),
    ]


def named(data, events):
    items, starts, ends = data.items, events.history_starts, events.history_ends
    return [
        (data.user_ids[u], "".join(data.item_ids[i] for i in items[a:b]), data.item_ids[t])
        for u, a, b, t in zip(events.users, starts, ends, events.targets, strict=True)
    ]


def cut(data, **settings):
    return time_cut(data, validation_from="100", test_from="200", **settings)


@pytest.mark.parametrize(
    ("targets", "validation", "test"),
    [
        (
            "successive",
            [("a", "wx", "y"), ("a", "wxy", "x"), ("c", "", "z")],
            [("a", "wxyx", "w"), ("a", "wxyxw", "z"), ("b", "xy", "y"), ("c", "z", "w"), ("d", "", "x")],
        ),
        (
            "first",
            [("a", "wx", "y"), ("c", "", "z")],
            [("a", "wxyx", "w"), ("b", "xy", "y"), ("c", "z", "w"), ("d", "", "x")],
        ),
        (
            "last",
            [("a", "wxy", "x"), ("c", "", "z")],
            [("a", "wxyxw", "z"), ("b", "xy", "y"), ("c", "z", "w"), ("d", "", "x")],
        ),
        (
            "all",
            [("a", "wx", "y"), ("a", "wx", "x"), ("c", "", "z")],
            [("a", "wxyx", "w"), ("a", "wxyx", "z"), ("b", "xy", "y"), ("c", "z", "w"), ("d", "", "x")],
        ),
    ],
)
def test_targets_and_their_histories_by_hand(tmp_path, targets, validation, test):
    data = by_hand(tmp_path)
    split = cut(data, targets=targets)
    assert named(data, split.eval_events(VALIDATION)) == validation
    assert named(data, split.eval_events(TEST)) == test


def test_facts_are_those_before_the_cut_and_nothing_is_dropped(tmp_path):
    data = by_hand(tmp_path)
    split = cut(data)
    assert split.manifest["counts"] == {"train": 4, "validation": 3, "test": 5}
    assert [data.item_ids[i] for i in np.flatnonzero(split.known)] == ["w", "x", "y"]
    assert split.facts.max_gap == 70
    assert split.facts.start_time == 10
    assert [data.labels[n] for n in split.vocabulary] == ["all", "w", "x", "y"]
    test = split.eval_events(TEST)
    assert split.unanswerable(test).tolist() == [False, True, False, False, True], "z is unknown, d has no history"


def test_shares_cut_at_the_time_of_an_event_and_equal_times_stay_together(tmp_path):
    events = [(f"u{n % 3}", f"i{n % 4}", START + DAY * (n // 4)) for n in range(40)]  # four events a day
    split = time_cut(dataset(tmp_path / "d", events), validation_share=0.2, test_share=0.1)
    assert split.manifest["cuts"] == {"validation": START + 7 * DAY, "test": START + 9 * DAY}
    assert split.manifest["counts"] == {"train": 28, "validation": 8, "test": 4}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"validation_from": "2050-01-01", "test_from": "2051-01-01"}, "no event from 2050-01-01 to 2051-01-01"),
        ({"validation_from": "0", "test_from": "200"}, "no event to train on"),
        ({"validation_from": "100", "test_from": "2051-01-01"}, "no event from 2051-01-01 on to test on"),
    ],
)
def test_a_cut_outside_of_the_log_is_one_sentence(tmp_path, settings, told):
    with pytest.raises(InputError, match=told):
        time_cut(by_hand(tmp_path), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"test_from": "2020-01-01"},
        {"validation_from": "2020-01-01", "test_from": "soon"},
        {"validation_from": "200", "test_from": "100"},
        {"validation_share": 0.6, "test_share": 0.5},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(ValueError, match=r"no date|before test_from|nothing to train|name both"):
        SplitConfig(kind="time", **settings)


USERS, ITEMS = [f"u{n}" for n in range(8)], [f"{'ab'[n % 2]}{'cde'[n % 3]}{n}" for n in range(9)]
NEWCOMERS = ["zz8", "zz9"]
CUT = START + 60 * DAY
event = st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), st.integers(0, 59))
later = st.tuples(st.sampled_from([*USERS, "new"]), st.sampled_from([*ITEMS, *NEWCOMERS]), st.integers(60, 90))


def learnt(folder, past, future, **options):
    """Everything a model is given to learn from, by external names."""
    events = [(u, i, START + DAY * day) for u, i, day in [*past, *future]]
    everything = goods([*ITEMS, *NEWCOMERS])
    config = PrepareConfig(**{"min_user_events": 1, "min_item_events": 1, **options})
    data, _ = prepare(tables(events, everything), folder / "dataset", config)
    split = time_cut(data, validation_from=str(CUT), test_from=str(CUT + DAY))
    log, names = split.training_log(), np.array(data.item_ids)
    flags = {"split": {"kind": "time", "validation_from": str(CUT), "test_from": str(CUT + DAY)}}
    run_encode(load_experiment(folder, flags={**flags, "encode": {"text": "tfidf-svd"}}), Listener())
    vectors = np.load(features_folder(split) / "text" / "vectors.npy")
    rows = np.flatnonzero(split.known)
    chosen = torch.from_numpy(rows)
    popular, walks = (fitted_baseline(n, split) for n in ("recent-popularity", "transitions"))
    histories = batch(chosen[:, None])
    return {
        "rows": sorted(
            (data.user_ids[u], names[data.items[e]], int(data.times[e]))
            for u, e in zip(log.users, log.events, strict=True)
        ),
        "order": [names[i] for i in data.items[log.events]],
        "counts": {names[i]: int(split.train_counts[i]) for i in rows},
        "vocabulary": [data.labels[n] for n in split.vocabulary],
        "facts": (split.facts.start_time, split.facts.max_gap, split.facts.num_categories),
        "vectors": {names[i]: vectors[i].tolist() for i in rows},
        "popularity": popular.scores(histories, chosen).tolist(),
        "transitions": walks.scores(histories, chosen).tolist(),
        "classes": names[candidates_of(split).numpy()].tolist(),
    }


RARE = {"min_user_events": 3, "min_item_events": 3, "filter_until": str(CUT)}


@pytest.mark.parametrize("options", [{}, RARE], ids=["no filter", "k-core of the past"])
@given(
    st.lists(event, min_size=40, max_size=60),
    st.lists(later, min_size=2, max_size=20),
    st.lists(later, min_size=2, max_size=20),
)
@settings(max_examples=12, deadline=None)
def test_nothing_that_is_learnt_depends_on_what_comes_after_the_cut(tmp_path_factory, options, past, one, other):
    sure = [("new", "zz8", 60), ("new", "zz8", 75)]  # no filter of the past takes these, so both parts have an event
    a, b = (learnt(tmp_path_factory.mktemp("p"), past, [*sure, *future], **options) for future in (one, other))
    for name in a:
        assert a[name] == b[name], name


def test_the_probe_above_sees_what_comes_before_the_cut(tmp_path):
    """Its control: one more training event changes all it compares but the order of the labels."""
    past = [(u, i, n) for n, (u, i) in enumerate(zip(USERS * 5, ITEMS * 5, strict=False))][:40]
    future = [("u0", "ac0", 60), ("u1", "ac0", 75)]
    a = learnt(tmp_path / "a", past, future)
    b = learnt(tmp_path / "b", [*past, ("u0", "zz8", 0)], future)
    assert {name for name in a if a[name] == b[name]} <= {"order"}


def test_unknown_targets_are_missed_or_ranked_by_recent_popularity(tmp_path):
    data = by_hand(tmp_path)
    split = cut(data)
    events = split.eval_events(TEST)

    class Backwards:
        """Scores items by their row: z first, then y, x, w."""

        name = "backwards"

        def scores(self, given, candidates):
            return candidates.float().expand(len(given), -1)

    known = ranks_of(Backwards(), split, events, max_length=5)
    # a: w is last of w x y; z unknown, behind all three; b: y first; c: w last; d: no history, x most popular.
    assert known.rank.tolist() == [3, 4, 1, 3, 1]
    wide = ranks_of(Backwards(), split, events, max_length=5, candidates=LOG)
    # a: w is last of four; z by popularity, behind x, y, w; the rest as before with z in front.
    assert wide.rank.tolist() == [4, 4, 2, 4, 1]
    counts = {n: len(candidates_of(split, n)) for n in (LOG, KNOWN, CATALOGUE)}
    assert counts == {LOG: 4, KNOWN: 3, CATALOGUE: 4}


def test_slices_name_who_and_what_is_new(tmp_path):
    split = cut(by_hand(tmp_path))
    events = split.eval_events(TEST)
    trained = np.asarray(split.train_end - split.dataset.offsets[:-1])[events.users]
    masks = of_events(events, np.asarray(split.train_counts), trained)
    sizes = {name: int(mask.sum()) for name, mask in masks.items()}
    assert sizes["user new since the cut"] == 2
    assert sizes["user known at the cut"] == 3
    assert sizes["empty history (fallback)"] == 1
    assert sizes["target never in training"] == 1


def test_softmax_over_chosen_rows_is_the_plain_one():
    torch.manual_seed(0)
    model = build("sasrec", medley.schema.Facts(num_items=9), width=8, max_length=6, dropout=0.0)
    known = torch.tensor([1, 3, 4, 8])
    trained = TrainingModule(model, classes=known, chunk=2)
    items, targets = torch.tensor([[1, 3, 4], [8, PAD, PAD]]), torch.tensor([[3, 4, 8], [1, PAD, PAD]])
    loss = trained(taught(items, targets))["loss"]
    table = model.rows.all()
    states = model.encode(batch(items), table).states
    picked = torch.stack([*states[0], states[1, 0]])
    expected = F.cross_entropy(picked @ table[known].T, torch.tensor([1, 2, 3, 0]))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    gradient = model.rows.ids.weight.grad
    assert (gradient[[0, 2, 5, 6, 7]] == 0).all(), "what is unknown at the cut is no class"
    with pytest.raises((IndexError, RuntimeError)):
        trained(taught(torch.tensor([[1]]), torch.tensor([[2]])))["loss"].item()


def project(folder):
    """Everyone walks a circle of items; a new item and a new user come late."""
    events = [(f"u{u:02d}", f"i{(u + t) % 12:02d}", START + DAY * t + u) for u in range(30) for t in range(20)]
    events += [("late", "i03", START + DAY * 19 + 50), ("late", "fresh", START + DAY * 19 + 60)]
    lines = "\n".join(",".join(map(str, e)) for e in events)
    (folder / "log.csv").write_text(f"user_id,item_id,timestamp\n{lines}\n")
    shop = medley.Project(folder / "shop")
    shop.prepare(folder / "log.csv", prepare={"min_user_events": 1, "min_item_events": 1}, split={"kind": "time"})
    return shop


def test_a_project_under_the_time_cut_from_end_to_end(tmp_path):
    shop = project(tmp_path)
    run = shop.fit("sasrec", width=16, train={"epochs": 6, "learning_rate": 0.01})
    report = shop.evaluate(run)
    assert "time cut" in report.split
    assert report.candidates == KNOWN
    split = run.split
    assert report.events == split.manifest["counts"]["test"] == len(split.eval_events(TEST))
    assert report.row("sasrec (id)").metrics["hit_rate@10"].value > 0.9, "the circle is learnt"
    names = {s.name: s.events for s in report.slices}
    assert names["user new since the cut"] == 2
    assert names["empty history (fallback)"] == 1
    assert names["target never in training"] == 1
    empty = next(s for s in report.slices if s.name == "empty history (fallback)")
    assert len({m["ndcg@10"].value for m in empty.models.values()}) == 1, "the fallback ranks for all alike"
    unknown = next(s for s in report.slices if s.name == "target never in training")
    assert {m["ndcg@10"].value for m in unknown.models.values()} == {0.0}
    assert any("unknown at the cut" in note for note in report.notes)
    fresh = run.dataset.item_rows["fresh"]
    assert (run.model.rows.ids.weight[fresh] == 0).all(), "an item that training never saw says nothing"
    assert "fresh" not in dict(run.recommend(["i01", "i02"], k=20))
    again = shop.fit("sasrec", width=16, train={"epochs": 6, "learning_rate": 0.01})
    assert again.folder == run.folder, "the choice of the split is kept with the project"


def test_a_run_of_one_split_is_not_judged_by_another(tmp_path):
    shop = project(tmp_path)
    make_split(shop.dataset, SplitConfig())
    quick = {"epochs": 1, "learning_rate": 0.01}
    time_run = shop.fit("sasrec", width=16, train=quick)
    other = shop.fit("sasrec", width=16, train=quick, split={"kind": "leave-one-out"})
    assert time_run.folder != other.folder
    with pytest.raises(InputError, match="trained under another split"):
        shop.evaluate([time_run, other])
    names = [row.name for row in shop.evaluate(split={"kind": "time"}).models]
    assert names.count("sasrec (id)") == 1


def test_recent_popularity_at_the_cut_does_not_know_the_future(tmp_path):
    data = by_hand(tmp_path)
    split = cut(data)
    everything = baseline("recent-popularity").fit(
        np.asarray(data.items), np.asarray(data.times), np.repeat(np.arange(len(data)), np.diff(data.offsets)),
        num_items=data.num_items,
    )  # fmt: skip
    known = fitted_baseline("recent-popularity", split)
    z = data.item_rows["z"]
    assert known.weights[z] == 0 < everything.weights[z]


def test_gaps_are_those_of_one_user(tmp_path):
    events = [("a", "x", 0), ("a", "y", 5), ("b", "x", 90), ("b", "y", 95), ("b", "y", 150), ("b", "x", 250)]
    assert cut(dataset(tmp_path / "d", events)).facts.max_gap == 5


def test_each_split_has_encoders_fitted_on_its_own_training_items(tmp_path):
    data = dataset(tmp_path / "dataset", [*daily_log(), ("u00", "late", START + DAY * 40)])
    told = []
    for flags in ({}, {"split": {"kind": "time"}}):
        experiment = load_experiment(tmp_path, flags=flags)
        run_encode(experiment, Listener())
        vectors = np.load(features_folder(make_split(data, experiment.split)) / "text" / "vectors.npy")
        told.append(vectors)
    first = np.load(features_folder(make_split(data)) / "text" / "vectors.npy")
    np.testing.assert_array_equal(first, told[0])
    assert told[0].shape != told[1].shape or (told[0] != told[1]).any()


def daily_log():
    return [
        (f"u{u:02d}", f"a{t:02d}", START + DAY * t)  # every day has an item of its own
        for u in range(9)
        for t in range(20)
    ]


@pytest.mark.parametrize(
    ("options", "ahead"),
    [
        ({}, False),
        ({"min_item_events": 2}, True),
        ({"min_item_events": 2, "filter_until": "100"}, False),
        ({"min_item_events": 2, "filter_until": "101"}, True),
    ],
)
def test_filters_that_looked_past_the_cut_are_told(tmp_path, options, ahead):
    split = cut(dataset(tmp_path / "d", [*by_hand_log(), ("d", "x", 220), ("d", "y", 230)], **options))
    assert split.filters_looked_ahead is ahead


def test_a_history_without_times_is_of_the_logs_end(tmp_path, monkeypatch):
    shop = project(tmp_path)
    run = shop.fit("sasrec", width=8, train={"epochs": 1})
    seen, state = [], run.model.last_state
    monkeypatch.setattr(run.model, "last_state", lambda batch, table: seen.append(batch.times) or state(batch, table))
    run.recommend(["i01", "i02"])
    run.recommend(["i01", "i02"], times=[START, START + 5])
    assert [times.tolist() for times in seen] == [[[max(shop.dataset.times)] * 2], [[START, START + 5]]]


def test_a_day_may_be_text_or_a_date_of_toml():
    days = (SplitConfig(kind="time", validation_from=day) for day in ("2024-05-01", datetime.date(2024, 5, 1)))
    assert len(set(days)) == 1
