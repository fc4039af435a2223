"""The planted bazaar: what was planted is in the log and in the content, and the oracle's figures are exact."""

import ast
import io
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from medleyrec.schema import InputError
from medleyrec.sources import bazaar as package
from medleyrec.sources.bazaar import BazaarConfig, Oracle, Truth, bazaar, describe_pictures, pictures, truth
from medleyrec.sources.bazaar.behaviour import LONG, SHORT, THRESHOLD, month, opens, world
from medleyrec.sources.bazaar.catalogue import cards
from medleyrec.sources.bazaar.grammar import CATEGORIES, COLOURS, SHAPES, SIZE, SYNONYMS
from medleyrec.sources.bazaar.laws import KINDS, group, liked
from medleyrec.sources.bazaar.oracle import rank
from medleyrec.sources.bazaar.truth import figures

SMALL = BazaarConfig(advance=1, seed=3, items=864, users=1_500)
TWIN = SMALL.model_copy(update={"noise": True})


@pytest.fixture(scope="module")
def made():
    return world(SMALL)


@pytest.fixture(scope="module")
def oracle(made):
    return Oracle(SMALL, made)


@pytest.fixture(scope="module")
def twin():
    return world(TWIN)


@pytest.fixture(scope="module")
def known():
    return truth(SMALL)


def steps(log):
    """Previous and next item of every event that continues a session."""
    continues = (np.diff(log.times) < THRESHOLD) & (np.diff(log.users) == 0)
    at = np.flatnonzero(continues) + 1
    return log.items[at - 1], log.items[at]


def advanced(goods, previous, following, *, advance=1):
    """Per category with gears: how many steps inside it there are, and the share that moves every gear by `advance`."""
    told = {}
    for c, category in enumerate(CATEGORIES):
        if category.gears:
            here = (goods.category[previous] == c) & (goods.category[following] == c)
            a, b = (group(goods, category, rows[here]) for rows in (previous, following))
            told[category.name] = (int(here.sum()), float((b == (a + advance) % SIZE).all(axis=1).mean()))
    return told


# --- the same seed gives the same bytes ---

DIGEST = """
import duckdb, json
from medleyrec.sources.bazaar import *
from medleyrec.storage import hash_bytes
config = BazaarConfig(seed=5, items=864, users=60, noise={noise})
tables = bazaar(duckdb.connect(), config)
rows = [tables.interactions.fetchall(), tables.items.fetchall(), describe_pictures(config), truth(config).to_json()]
pictures = [bytes for _, bytes in tables.images.fetchall()]
print(hash_bytes(json.dumps(rows).encode()), hash_bytes(*pictures), tables.fingerprint)
"""


def digest(hash_seed, *, noise=False):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DIGEST.format(noise=noise)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_two_processes_give_the_same_bytes_whatever_the_hash_seed():
    first = digest("1")
    assert first == digest("2")
    assert all(a != b for a, b in zip(first, digest("1", noise=True), strict=True))


def test_another_seed_is_another_shop(made):
    other = world(SMALL.model_copy(update={"seed": 4}))
    assert not np.array_equal(made.goods.category, other.goods.category)
    assert not np.array_equal(made.log.times[:50], other.log.times[:50])


# --- tables ---


def test_tables_have_the_canonical_columns_and_all_items_have_pictures():
    tables = bazaar(duckdb.connect(), BazaarConfig(items=864, users=30))
    columns = dict(zip(tables.interactions.columns, map(str, tables.interactions.types), strict=True))
    assert columns == {"user_id": "VARCHAR", "item_id": "VARCHAR", "timestamp": "BIGINT", "order": "BIGINT"}
    columns = dict(zip(tables.items.columns, map(str, tables.items.types), strict=True))
    assert columns["categories"] == "VARCHAR[][]"
    assert columns["price"] == "DOUBLE"
    assert columns["image"] == columns["title"] == columns["brand"] == "VARCHAR"
    items = tables.items.fetchall()
    assert [i for i, _ in tables.images.fetchall()] == [row[0] for row in items]
    paths = [dict(zip(tables.items.columns, row, strict=True))["categories"][0] for row in items]
    assert {len(path) for path in paths} == {3}
    assert {path[0] for path in paths} == {"Bazaar"}
    assert {(path[1], path[2]) for path in paths} == {(c.department, c.name) for c in CATEGORIES}


def test_the_log_is_in_order_of_time_and_users_never_have_two_events_at_once():
    rows = bazaar(duckdb.connect(), BazaarConfig(items=864, users=300)).interactions.fetchall()
    assert [row[2] for row in rows] == sorted(row[2] for row in rows)
    assert [row[3] for row in rows] == list(range(len(rows)))
    assert len({(row[0], row[2]) for row in rows}) == len(rows)


def test_gaps_are_short_or_long_and_last_events_mostly_continue_sessions(made):
    gaps = np.diff(made.log.times)[np.diff(made.log.users) == 0]
    short = gaps < THRESHOLD
    assert SHORT[0] <= gaps[short].min() <= gaps[short].max() <= SHORT[1]
    assert LONG[0] <= gaps[~short].min() <= gaps[~short].max() <= LONG[1]
    for back in (1, 2):
        ends = made.log.offsets[1:] - back
        assert 0.65 < (made.log.times[ends] - made.log.times[ends - 1] < THRESHOLD).mean() < 0.75
    assert np.diff(made.log.offsets).min() == 5


def test_seasons_move_sessions(made):
    """Categories peak in different months, so month and category of opening events depend on each other."""
    new = np.concatenate([[True], (np.diff(made.log.times) >= THRESHOLD) | (np.diff(made.log.users) != 0)])
    table = np.zeros((12, len(CATEGORIES)))
    np.add.at(table, (month(made.log.times[new]), made.goods.category[made.log.items[new]]), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() > 3 * (11 * 11)  # chi-square, 121 degrees of freedom


# --- the truth can be counted ---


def test_each_driver_has_three_categories():
    drivers = [category.driver for category in CATEGORIES]
    assert {name: drivers.count(name) for name in drivers} == dict.fromkeys(("image", "text", "both", "none"), 3)


def test_planted_transitions_occur_at_the_planted_rate(made):
    expected = SMALL.follow + (1 - SMALL.follow) / SIZE**2
    counted = advanced(made.goods, *steps(made.log))
    assert len(counted) == 9
    for name, (count, share) in counted.items():
        error = np.sqrt(expected * (1 - expected) / count)
        assert abs(share - expected) < 4 * error, name


def test_sums_may_stay_equal_and_then_an_item_is_not_its_own_successor():
    config = SMALL.model_copy(update={"advance": 0})
    made = world(config)
    expected = config.follow + (1 - config.follow) / SIZE**2
    counted = advanced(made.goods, *steps(made.log), advance=0)
    shares, counts = [share for _, share in counted.values()], [count for count, _ in counted.values()]
    assert abs(np.average(shares, weights=counts) - expected) < 0.01
    for c, category in enumerate(CATEGORIES):
        if category.gears:
            plain = made.goods.appeal[made.laws.members[c]]
            np.testing.assert_allclose(made.laws.steps[c].diagonal(), (1 - config.follow) * plain / plain.sum())


def test_with_a_turn_the_gap_before_an_event_tells_how_the_next_one_follows():
    config = SMALL.model_copy(update={"advance": 1, "turn": 3})
    made, plain = world(config), world(SMALL)
    assert np.array_equal(made.log.times, plain.log.times), "the clock is the same"
    log = made.log
    gaps = np.diff(log.times)
    within = np.diff(log.users) == 0
    continues = np.concatenate([[False], within & (gaps < THRESHOLD)])
    for opened, advance in ((True, 1), (False, 4)):
        at = np.flatnonzero(continues[1:] & (continues[:-1] != opened)) + 1
        counted = advanced(made.goods, log.items[at - 1], log.items[at], advance=advance)
        expected = config.follow + (1 - config.follow) / SIZE**2
        shares, counts = [share for _, share in counted.values()], [count for count, _ in counted.values()]
        assert min(counts) > 50
        assert abs(np.average(shares, weights=counts) - expected) < 0.02, advance


def test_the_oracle_of_a_turning_bazaar_looks_at_the_gap_before_the_last_event():
    config = SMALL.model_copy(update={"turn": 3})
    made = world(config)
    knows = Oracle(config, made)
    driven = next(c for c, category in enumerate(CATEGORIES) if category.gears)
    item = made.goods.ids[made.laws.members[driven][0]]
    hour, day = 3_600, 86_400
    opened = knows.probabilities([item, item], [0, 5 * day], 5 * day + hour)
    continued = knows.probabilities([item, item], [0, hour], 2 * hour)
    assert opened.sum() == pytest.approx(1)
    assert continued.sum() == pytest.approx(1)
    place = made.laws.place[made.laws.members[driven][0]]
    members = made.laws.members[driven]
    np.testing.assert_allclose(opened[members], made.laws.steps[driven][place])
    np.testing.assert_allclose(continued[members], made.laws.later[driven][place])
    assert abs(opened - continued).max() > 0.01
    assert np.array_equal(knows.probabilities([item], [0], hour), opened), "a first event opens a session"


def test_plain_categories_have_fixed_successors(made):
    previous, following = steps(made.log)
    for c, category in enumerate(CATEGORIES):
        if category.driver == "none":
            here = made.goods.category[previous] == c
            law, place = made.laws.steps[c], made.laws.place
            likely = law > 0.05
            assert (likely.sum(axis=1) == 4).all()
            assert (likely.sum(axis=0) == 4).all()
            assert not likely.diagonal().any()
            share = likely[place[previous[here]], place[following[here]]].mean()
            assert abs(share - SMALL.follow) < 0.03


def test_a_session_stays_in_its_category(made):
    previous, following = steps(made.log)
    assert (made.goods.category[previous] == made.goods.category[following]).all()


def test_in_the_noise_twin_steps_are_at_chance(twin):
    goods, (previous, following) = twin.goods.shown(), steps(twin.log)
    shares = np.bincount(goods.category[twin.log.items]) / len(twin.log)
    same = (goods.category[previous] == goods.category[following]).mean()
    assert abs(same - (shares**2).sum()) < 4 * np.sqrt(same / len(previous))
    counts = advanced(goods, previous, following)
    hits, total = sum(n * share for n, share in counts.values()), sum(n for n, _ in counts.values())
    assert abs(hits - total / SIZE**2) < 4 * np.sqrt(total / SIZE**2)


def test_the_noise_twin_keeps_every_marginal(made, twin):
    assert np.array_equal(made.log.times, twin.log.times)
    assert np.array_equal(made.log.offsets, twin.log.offsets)
    assert np.array_equal(np.sort(made.log.items), np.sort(twin.log.items))
    assert not np.array_equal(made.log.items, twin.log.items)
    moved = twin.goods.content
    assert np.array_equal(np.sort(moved), np.arange(SMALL.items))
    assert (moved == np.arange(SMALL.items)).mean() < 0.02
    mine, theirs = cards(SMALL, made.goods), cards(TWIN, twin.goods)
    assert theirs == [mine[row] for row in moved]
    told, twins = describe_pictures(SMALL), describe_pictures(TWIN)
    assert list(twins.values()) == [told[made.goods.ids[row]] for row in moved]


def test_the_noise_twins_pictures_move_with_their_texts():
    config = BazaarConfig(items=864, users=1)
    plain = list(pictures.pictures(config, world(config).goods))
    noisy = config.model_copy(update={"noise": True})
    goods = world(noisy).goods
    assert list(pictures.pictures(noisy, goods)) == [plain[row] for row in goods.content]


# --- synergy: neither modality alone tells anything ---


def information(a, b, weights=None):
    """Mutual information of two integer columns in nats."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0 if weights is None else weights)
    table /= table.sum()
    chance = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    some = table > 0
    return float((table[some] * np.log(table[some] / chance[some])).sum())


def modality_codes(goods, category, rows):
    """What the picture and what the text contribute to the gears: one code 0..35 each."""
    parts = []
    for names in (("colour", "shape", "pattern"), ("material", "style")):
        sums = [sum(goods.attributes[n][rows] * (n in names) for n in gear) for gear in category.gears]
        parts.append(sums[0] % SIZE * SIZE + sums[1] % SIZE)
    return parts


def step_information(goods, law, category, rows):
    """Information of a step, from the law itself: picture -> picture, text -> text, both -> both (gears)."""
    i, j = np.nonzero(np.ones_like(law))
    picture, text = modality_codes(goods, category, rows)
    gears = group(goods, category, rows) @ [SIZE, 1]
    weights = (law * (goods.appeal[rows] / goods.appeal[rows].sum())[:, None]).ravel()
    return [information(code[i], code[j], weights) for code in (picture, text, gears)]


def test_only_the_planted_modality_informs_of_the_next_item():
    config = BazaarConfig(items=12 * 2_592, users=1)  # 72 items per group, so that small-sample information is small
    made = world(config)
    for c, category in enumerate(CATEGORIES):
        if category.driver == "none" or category.department == "Garden":
            continue
        told = step_information(made.goods, made.laws.steps[c], category, made.laws.members[c])
        least, most = 0.05, 1.5
        alone = {"image": [most, None], "text": [None, most], "both": [None, None]}[category.driver]
        for value, floor in zip(told, [*alone, most], strict=True):
            assert value > floor if floor is not None else value < least, (category.name, told)


def test_attributes_are_independent_of_one_another_and_of_popularity(made):
    """Counts of all pairs of attributes over all items are as even as chance makes them."""
    names = sorted(made.goods.attributes)
    for a, b in product(names, names):
        if a < b:
            told = information(made.goods.attributes[a], made.goods.attributes[b])
            assert 2 * SMALL.items * told < 60, (a, b)  # G test, 25 degrees of freedom; 60 has a chance of 1e-4


# --- the oracle ---


def history(made, user, back=1):
    start, end = int(made.log.offsets[user]), int(made.log.offsets[user + 1]) - back
    ids = made.goods.ids
    return [ids[i] for i in made.log.items[start:end]], made.log.times[start:end].tolist(), int(made.log.times[end])


def test_probabilities_sum_to_one(made, oracle):
    assert oracle.probabilities([], [], 1_650_000_000).sum() == pytest.approx(1)
    for user in range(40):
        answer = oracle.probabilities(*history(made, user))
        assert answer.sum() == pytest.approx(1)
        assert answer.min() >= 0


def test_beliefs_equal_an_enumeration_of_every_kind_of_user(made, oracle):
    """P(next | history) = sum over kind, liked colour, liked material of P(all) / sum of P(history)."""
    log, laws = made.log, made.laws
    user = next(u for u in range(SMALL.users) if opens(log.times[slice(*log.offsets[u : u + 2])]).sum() >= 4)
    span = slice(*log.offsets[user : user + 2])
    rows, times = log.items[span], log.times[span]
    last = np.flatnonzero(opens(times))[-1]  # predicts the event that opens the last session

    def chance(item, time, kind, likes):
        c = made.goods.category[item]
        value = likes.get(liked(CATEGORIES[c]), 0)
        return laws.opening[month(time), kind, c] * laws.first[c][value, laws.place[item]]

    joint = np.zeros(SMALL.items)
    for kind, colour, material in product(range(KINDS), range(SIZE), range(SIZE)):
        likes = {"colour": colour, "material": material}
        before = np.flatnonzero(opens(times)[:last])
        weight = np.prod([chance(rows[t], times[t], kind, likes) for t in before])
        joint += weight * np.array([chance(i, times[last], kind, likes) for i in range(SMALL.items)])
    answer = oracle.next_after(rows[:last], times[: last + 1])
    np.testing.assert_allclose(answer, joint / joint.sum(), rtol=1e-9, atol=1e-15)


def test_the_oracle_is_calibrated(made, oracle):
    """If the probabilities are the true ones, the target's mean probability is the mean of their squares' sum."""
    for starts in (True, False):
        excess, scale = [], []
        for user in range(SMALL.users):
            for back in (1, 2):
                end = int(made.log.offsets[user + 1]) - back
                span = slice(int(made.log.offsets[user]), end)
                clock = made.log.times[span.start : end + 1]
                if opens(clock)[-1] == starts:
                    p = oracle.next_after(made.log.items[span], clock)
                    excess.append(p[made.log.items[end]] - (p**2).sum())
                    scale.append((p**2).sum())
        error = np.std(excess) / np.sqrt(len(excess))
        assert abs(np.mean(excess)) < 4 * error
        assert 4 * error < np.mean(scale)  # else the line above says nothing


def ndcg(ranks):
    return figures(np.array(ranks, dtype=float))["NDCG@10"]


def test_the_oracle_is_above_popularity_and_above_a_guess_from_a_misread_item(made, oracle, known):
    ends = made.log.offsets[1:] - 1
    popularity = ndcg([rank(oracle.frequency[oracle.in_log], oracle.frequency[t]) for t in made.log.items[ends]])
    rng, misread = np.random.default_rng(0), []
    for start, end in zip(made.log.offsets[:-1], ends, strict=True):
        rows = made.log.items[start:end].copy()
        if rng.random() < 0.2:  # the last item is taken for another of its category
            rows[-1] = rng.choice(made.laws.members[made.goods.category[rows[-1]]])
        answer = oracle.next_after(rows, made.log.times[start : end + 1])
        misread.append(rank(answer[oracle.in_log], answer[made.log.items[end]]))
    assert popularity < 0.05
    assert popularity < 0.5 * ndcg(misread) < 0.5 * known.oracle["test"]["NDCG@10"]


def test_the_noise_twins_oracle_is_the_items_frequency(twin):
    oracle = Oracle(TWIN, twin)
    answer = oracle.probabilities(*history(twin, 0))
    np.testing.assert_allclose(answer, np.bincount(twin.log.items, minlength=TWIN.items) / len(twin.log))
    assert truth(TWIN).oracle["test"]["NDCG@10"] < 0.03


def test_a_tie_counts_half_of_its_span():
    assert rank(np.array([3.0, 2.0, 2.0, 2.0, 1.0]), 2.0) == 3
    assert rank(np.ones(9), 1.0) == 5
    assert rank(np.array([5.0, 1.0]), 5.0) == 1


def test_figures_by_hand():
    told = figures(np.array([1.0, 3.0, 7.0, 30.0]))
    assert told["events"] == 4
    assert [told[f"HR@{k}"] for k in (5, 10, 20)] == [0.5, 0.75, 0.75]
    assert told["NDCG@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert told["NDCG@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert told["MRR@20"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 4)
    assert figures(np.array([]))["HR@5"] == 0


def test_figures_are_means_over_all_users_and_slices_add_up(known):
    for split in ("test", "validation"):
        parts = known.slices[split]
        assert known.oracle[split]["events"] == SMALL.users
        total = sum(parts[s]["events"] * parts[s]["NDCG@10"] for s in ("continuing", "opening"))
        assert total == pytest.approx(SMALL.users * known.oracle[split]["NDCG@10"])
        assert sum(parts[s]["events"] for s in ("image", "text", "both", "none")) == parts["continuing"]["events"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["item-00000"], [], 5), "1 items has 0 times"),
        ((["nonsense"], [1], 5), "'nonsense' is not in the bazaar"),
        ((["item-00000"], [7], 5), "not in order"),
    ],
)
def test_a_wrong_history_is_refused_in_a_sentence(oracle, arguments, message):
    with pytest.raises(InputError, match=message):
        oracle.probabilities(*arguments)


# --- the truth as a file ---


def test_truth_survives_json(known):
    again = Truth.from_json(json.loads(json.dumps(known.to_json())))
    assert again == known
    assert set(known.drivers) == {c.name for c in CATEGORIES}
    assert set(truth(TWIN).drivers.values()) == {"noise"}


def test_a_damaged_truth_is_refused(known):
    with pytest.raises(InputError, match="oracle"):
        Truth.from_json({k: v for k, v in known.to_json().items() if k != "oracle"})


def test_truth_draws_no_picture(monkeypatch):
    monkeypatch.setattr(pictures, "render", lambda *a, **k: pytest.fail("a picture was drawn"))
    truth(BazaarConfig(items=864, users=20))


# --- content tells the attributes, and no more than its own ---


def hue_of(data):
    """The colour nearest to the mean hue of the most saturated fifth of a picture."""
    hsv = np.asarray(Image.open(io.BytesIO(data)).convert("HSV"), dtype=float).reshape(-1, 3) / 255
    strong = hsv[np.argsort(-hsv[:, 1])[: len(hsv) // 5]]
    angle = np.angle(np.exp(2j * np.pi * strong[:, 0]).mean()) / (2 * np.pi)
    return round(angle * SIZE) % SIZE


def test_pictures_decode_and_show_their_colour():
    config = BazaarConfig(items=864, users=1)
    goods = world(config).goods
    drawn = list(pictures.pictures(config, goods))
    assert len(set(drawn)) == len(drawn)
    assert {Image.open(io.BytesIO(d)).size for d in drawn} == {(64, 64)}
    right = np.array([hue_of(d) for d in drawn]) == goods.attributes["colour"]
    assert 0.6 < right.mean() < 1  # readable, not trivial


def test_each_attribute_changes_the_picture():
    def draw(**changed):
        return pictures.render(np.random.default_rng(0), **{"colour": 0, "shape": 0, "pattern": 0, **changed})

    for name in ("colour", "shape", "pattern"):
        seen = [draw(**{name: value}) for value in range(SIZE)]
        for a, b in product(range(SIZE), range(SIZE)):
            assert (np.abs(seen[a] - seen[b]).mean() > 0.005) == (a != b)


def test_texts_name_their_material_mostly_and_no_other_attribute(made):
    texts = [f"{card.title} {card.description}".lower() for card in cards(SMALL, made.goods)]
    for name, synonyms in SYNONYMS.items():
        values = made.goods.attributes[name]
        told = [any(word in text for word in synonyms[v]) for text, v in zip(texts, values, strict=True)]
        assert 0.9 < np.mean(told) < 1
        others = [any(word in text for word in synonyms[(v + 1) % SIZE]) for text, v in zip(texts, values, strict=True)]
        assert 0.02 < np.mean(others) < 0.2
    words = {word.strip(".,") for text in texts for word in text.split()}
    assert not words & {*COLOURS, *SHAPES}


def test_picture_descriptions_are_true_and_drop_some_detail(made):
    told = describe_pictures(SMALL)
    assert list(told) == made.goods.ids
    shapes = [made.goods.attributes["shape"][i] for i in range(SMALL.items)]
    named = [SHAPES[s] in text for s, text in zip(shapes, told.values(), strict=True)]
    wrong = [SHAPES[(s + 1) % SIZE] in text for s, text in zip(shapes, told.values(), strict=True)]
    assert 0.75 < np.mean(named) < 0.95
    assert not any(wrong)


# --- borders ---


def test_the_bazaar_imports_border_types_and_sources_only():
    allowed = ("medleyrec.schema", "medleyrec.storage", "medleyrec.config", "medleyrec.sources")
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("medleyrec") or name.startswith(allowed), (path.name, name)


def test_settings_are_checked():
    for wrong in (
        {"items": 100},
        {"items": 432, "advance": 0},
        {"items": 432, "advance": 2, "turn": 4},
        {"advance": 6},
        {"turn": 6},
        {"users": 0},
        {"follow": 1.5},
        {"sead": 1},
    ):
        with pytest.raises(ValueError):
            BazaarConfig(**wrong)
