"""The sampled protocol beside full ranking, on a circle of items where the next one is known; and a model that only
answers through `last_state`."""

import csv
import os
import subprocess
import sys

import pytest
import torch

import medleyrec as medley
from medleyrec.evaluation.report import Report
from medleyrec.models.base import SequenceModel
from tests.worlds import circle

USERS, ITEMS = 150, 120
TINY = {"width": 8, "train": {"epochs": 1}}


class Successor(SequenceModel):
    """Not causal: it has no states for every position, only an answer after the whole history, which is right."""

    causal = False
    name = "successor"
    max_length = 4

    def __init__(self, following):
        super().__init__()
        self.following = following  # (V,) the item that follows each item
        self.rows = self

    def all(self):
        return torch.eye(len(self.following))

    def last_state(self, batch, table):
        assert batch.items.shape[1] <= self.max_length
        last = batch.items[torch.arange(len(batch)), batch.lengths - 1]
        return table[self.following[last]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circle")
    with (folder / "log.csv").open("w", newline="") as file:
        short, long = circle(USERS, ITEMS, 7), circle(USERS, ITEMS, 12)
        few = {f"u{user:03d}" for user in range(USERS * 4 // 5)}
        events = [*(e for e in short if e[0] in few), *(e for e in long if e[0] not in few)]
        csv.writer(file).writerows([("user_id", "item_id", "timestamp"), *events])
    made = medley.Project(folder / "shop")
    made.prepare(folder / "log.csv", prepare={"min_item_events": 1})
    return made


@pytest.fixture(scope="module")
def run(shop):
    """A run whose model is the one that knows the circle."""
    found = shop.fit("sasrec", items=["id"], **TINY)
    rows = shop.dataset.item_rows
    following = torch.zeros(ITEMS + 1, dtype=torch.int64)
    for item in range(ITEMS):
        following[rows[f"i{item:02d}"]] = rows[f"i{(item + 1) % ITEMS:02d}"]
    found.__dict__["model"] = Successor(following)
    return found


@pytest.fixture(scope="module")
def sampled(shop, run):
    return shop.evaluate(run, protocol="sampled", examples=2)


def test_a_model_that_has_only_a_last_state_is_evaluated(sampled, run):
    row = sampled.row("sasrec (id)")
    assert {name: estimate.value for name, estimate in row.metrics.items()} == dict.fromkeys(sampled.metrics, 1.0)
    assert [example.rank for example in sampled.examples] == [1.0, 1.0]
    assert all(example.recommended[0].is_target for example in sampled.examples)
    with pytest.raises(NotImplementedError, match="has no states for every position"):
        run.model.encode(None, None)
    (first, _), *_ = run.recommend(["i07", "i08"], k=3)
    assert first == "i09"


def test_the_sampled_table_stands_beside_full_ranking(shop, run, sampled):
    full = shop.evaluate(run, examples=2)
    assert full.protocols == ()
    assert (full.models, full.slices, full.comparisons, full.verdict) == (
        sampled.models,
        sampled.slices,
        sampled.comparisons,
        sampled.verdict,
    )
    assert any("nothing is sampled." in note for note in full.notes)
    (table,) = sampled.protocols
    assert any(f'nothing is sampled but in the table "{table.title}".' in note for note in sampled.notes)
    assert table.title == "Against 100 sampled negatives"
    assert "inconsistent" in table.why
    assert "Krichene & Rendle, KDD 2020" in table.why
    assert list(table.models) == [row.name for row in sampled.models]
    assert table.models["sasrec (id)"]["ndcg@10"].value == 1.0
    assert sampled.command == f"medley evaluate {shop.folder} --protocol sampled"
    assert Report.read(shop.folder / "report.json") == full
    assert Report.from_json(sampled.to_json()) == sampled


def test_groups_part_users_and_items_and_lose_nobody(sampled):
    """Four fifths of the users have seven events and one fifth twelve; the first user is one of the four."""
    (table,) = sampled.protocols
    sizes = {part.name: part.events for part in table.groups}
    assert sizes.pop("head user (11 or more events before the test part; 20.0 % of users)") == USERS / 5
    assert sizes.pop("tail user (under 11; 80.0 % of users)") == USERS * 4 / 5
    assert sum(sizes.values()) == USERS
    assert [" ".join(name.split()[:2]) for name in sizes] == ["head item", "tail item"]
    for part in table.groups:
        assert list(part.models) == list(table.models)
        assert {n: e.value for n, e in part.models["sasrec (id)"].items()} == {"hit_rate@10": 1.0, "ndcg@10": 1.0}
    in_full = {part.name: part.events for part in sampled.slices if "user" in part.name}
    assert list(in_full.values()) == [USERS / 5, USERS * 4 / 5]


def test_ranks_among_a_sample_are_better_than_among_all(sampled):
    (table,) = sampled.protocols
    for row in sampled.models:
        for name, estimate in row.metrics.items():
            assert table.models[row.name][name].value >= estimate.value


def test_too_few_negatives_are_noted(shop, run):
    (table,) = shop.evaluate(run, protocol="sampled", negatives=115, cutoffs=[5], examples=0).protocols
    assert table.shown == ("hit_rate@5", "ndcg@5")
    assert table.notes[-1].startswith(
        f"For {USERS} of {USERS} events fewer than 115 such items are left (at least 108)"
    )


def test_another_seed_draws_other_negatives(shop, run, sampled):
    (again,) = shop.evaluate(run, protocol="sampled", examples=0).protocols
    (other,) = shop.evaluate(run, protocol="sampled", negatives_seed=1, examples=0).protocols
    (first,) = sampled.protocols
    assert again == first
    assert other.models["popularity"] != first.models["popularity"]


def test_every_pair_of_models_is_compared_once(shop, run):
    other = shop.fit("sasrec", items=["id"], **{**TINY, "width": 12})
    report = shop.evaluate([run, other], examples=0)
    names = [row.name for row in report.models if row.kind == "model"]
    assert len(names) == 2
    assert len(report.against_baselines) == 2 * 3
    (between,) = report.between_models
    assert {between.model, between.reference} == set(names)
    assert between.reference == report.plain
    assert between.shown
    assert all(c.p_holm >= c.p for c in report.comparisons)


def test_what_fusion_must_beat_is_the_best_model_of_ids_alone(shop, run):
    weak = shop.fit("gru4rec", items=["id"], **TINY)
    report = shop.evaluate([weak, run], examples=0)
    assert [row.name for row in report.models if row.kind == "model"] == ["gru4rec (id)", "sasrec (id)"]
    assert report.plain == "sasrec (id)"


def medley_evaluate(folder, *args):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "medleyrec.cli", "evaluate", str(folder), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_command_prints_the_preset_and_its_reason(shop, run, tmp_path):
    done = medley_evaluate(shop.folder, "--protocol", "sampled", "--set", "evaluate.examples=0", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for words in ("Against 100 sampled negatives. Not the headline", "head user (11 or more", "NDCG@10 by slice"):
        assert words in said, said
    command = Report.read(tmp_path / "report.json").command
    assert command == f"medley evaluate {shop.folder} --protocol sampled --set evaluate.examples=0"


def test_an_unknown_protocol_is_one_sentence(shop):
    done = medley_evaluate(shop.folder, "--protocol", "uni100")
    assert done.returncode == 2
    assert "evaluate.protocol = 'uni100' does not fit: Input should be 'full' or 'sampled'" in " ".join(
        done.stderr.split()
    )
