"""Our HM4SR beside the numbers of the published code, and files that are not what they should be.

fixtures/hm4sr_tiny.safetensors: random weights and inputs of a tiny model, and what the published code (commit f1c0a15)
makes of them: scores, losses, states, gradients, weights after one step of Adam, in float32, and in float64 the scores
and losses.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medleyrec.evaluation.statistics import Estimate
from medleyrec.models.published import EXPERTS, UNUSED, build_published, places, sizes, theirs_of
from medleyrec.recipes import verify
from medleyrec.recipes.imports import published_model, run_import
from medleyrec.recipes.numbers import read_numbers, save_numbers
from medleyrec.recipes.verify import Check, Parity, run_verify
from medleyrec.schema import PAD, InputError
from medleyrec.training.module import TrainingModule
from tests.worlds import circle, small

FIXTURE = Path(__file__).parent / "fixtures" / "hm4sr_tiny.safetensors"


@pytest.fixture(scope="module")
def numbers():
    return read_numbers(FIXTURE)


def test_parity_passes_in_both_precisions():
    found = run_verify(FIXTURE)
    assert found.passed, str(found)
    told = {(c.case, c.precision, c.quantity) for c in found.checks}
    assert len(told) == len(found.checks)
    for case in ("small_time", "real_time"):
        for precision in ("float64", "float32"):
            for quantity in ("scores", "loss ce", "loss idcl", "loss cp", "loss pcl", "loss total"):
                assert (case, precision, quantity) in told
        for quantity in ("gradients of 128 tensors", "gradients of 6 key biases, zero", "last state, img"):
            assert (case, "float32", quantity) in told
    assert {c.limit for c in found.checks if c.precision == "float64"} == {1e-10}
    assert str(found).splitlines()[-1] == f"all {len(found.checks)} pass"


@pytest.mark.parametrize("deviation", ["raw-seconds", "counted-negatives", "category-mask", "raw-features"])
def test_each_deviation_is_needed(monkeypatch, numbers, deviation):
    """Without it the published numbers are missed, so its switch does what it says."""

    def without(*args, **more):
        model = build_published(*args, **more)
        everything = {"raw-seconds", "counted-negatives", "category-mask", "raw-features"}
        model.settings = model.settings.model_copy(update={"reference": tuple(everything - {deviation})})
        if deviation == "raw-seconds":
            model.time.raw_seconds = False
        if deviation == "raw-features":
            model.rows.raw = False  # row 0 is zero again
        return model

    monkeypatch.setattr(verify, "build_published", without)
    failed = {c.quantity for c in run_verify(FIXTURE).checks if not c.passed}
    wanted = {
        "raw-seconds": {"scores", "absolute phase, relative"},
        "counted-negatives": {"loss idcl", "loss pcl", "loss total"},
        "category-mask": {"loss cp", "loss total"},
        "raw-features": {"loss ce"},
    }
    assert wanted[deviation] <= failed
    if deviation == "category-mask":
        assert "scores" not in failed


def test_category_prediction_as_intended_is_ours(numbers):
    """The file also holds what the published mask was meant to select."""
    model = verify._model(numbers, FIXTURE).train()
    model.settings = model.settings.model_copy(update={"reference": ()})
    for case in numbers["cases"].values():
        losses = TrainingModule(model, classes=torch.arange(31), chunk=64)(verify._batch(case))
        wanted = case["train.loss_cp_as_intended_not_in_total"]
        torch.testing.assert_close(losses["cp"], wanted, rtol=1e-6, atol=0)


def spoilt(numbers, tmp_path, change):
    file = tmp_path / "spoilt.pt"
    copy = {**numbers, "cases": {"small_time": dict(numbers["cases"]["small_time"])}}
    copy["state_dict"] = {n: t.clone() for n, t in numbers["state_dict"].items()}
    change(copy, copy["cases"]["small_time"])
    torch.save(copy, file)
    return file


def test_a_spoilt_number_fails_where_it_lies(numbers, tmp_path):
    def score(_, case):
        case["eval64.full_sort_predict"] = case["eval64.full_sort_predict"] * (1 + 1e-9)

    found = run_verify(spoilt(numbers, tmp_path, score))
    assert [c.quantity for c in found.checks if not c.passed] == ["scores"]
    assert "FAIL" in str(found)
    assert str(found).endswith(f"1 of {len(found.checks)} quantities FAIL")

    def step(_, case):
        after = dict(case["train.state_after_1_adam_step"])
        after["txt_ln.weight"] = after["txt_ln.weight"] + 2e-5
        case["train.state_after_1_adam_step"] = after

    found = run_verify(spoilt(numbers, tmp_path, step))
    assert [c.quantity for c in found.checks if not c.passed] == ["after one step of Adam, absolute"]

    def weight(copy, _):
        copy["state_dict"]["img_seq.layer.1.feed_forward.dense_2.bias"][0] += 1e-2

    failed = {c.quantity for c in run_verify(spoilt(numbers, tmp_path, weight)).checks if not c.passed}
    assert {"scores", "last state, img"} <= failed
    assert "last state, txt" not in failed


def test_a_gradient_without_a_place_and_a_nan_fail():
    assert not Check(case="", precision="", quantity="", deviation=float("nan"), limit=1.0).passed
    assert not Parity(()).passed, "nothing compared is nothing shown"
    assert verify._relative(torch.ones(2), torch.ones(3)) != verify._relative(torch.ones(2), torch.ones(2)) == 0
    assert verify._worst([]) != verify._worst([])


def other_sizes(numbers, tmp_path):
    """A file of another shape, made by our own model: K 3, H 8, one layer, L 5, unequal feature widths, B 4."""
    rng = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=rng) * 0.2

    template, state = numbers["state_dict"], {}
    for name, tensor in template.items():
        if ".layer.1." in name or "expert.3" in name or name in UNUSED:
            continue
        shape = [
            {16: 8, 48: 24, 32: 12 if "dense" in name else 16, 4: 3, 31: 20, 10: 5}.get(n, n) for n in tensor.shape
        ]
        if name.startswith(("cat_embedding", "cat_linear")):
            shape[-1 if "embedding" in name else 0] = 7
        if name in ("img_embedding.weight", "img_projection.weight"):
            shape[1] = 9
        state[name] = random(*shape)
    state["cat_embedding.weight"] = (state["cat_embedding.weight"] > 0).float()
    for name in ("txt_embedding.weight", "img_embedding.weight"):
        state[name][0] = 0
    experts, config = random(3, 24), {**numbers["config"], "interval_scale": 3}
    made = {"config": config, "state_dict": state, EXPERTS: experts}
    model = verify._model(made, tmp_path / "own")
    items = torch.tensor([[3, 4, 5, 6, 7], [1, 2, 0, 0, 0], [9, 0, 0, 0, 0], [4, 4, 19, 0, 0]])
    inputs = {
        "item_id_list": items,
        "timestamp_list": torch.where(items != PAD, torch.arange(5) * 40, 0).float(),
        "item_length": (items != PAD).sum(1),
        "item_id": torch.tensor([1, 2, 1, 5]),
        "user_id": torch.arange(4),
    }
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 1] = True
    return made, model, {"inputs": inputs, "pcl_mask": mask}


def test_any_sizes_and_the_names_go_both_ways(numbers, tmp_path):
    made, model, case = other_sizes(numbers, tmp_path)
    size = sizes(made["state_dict"], where="own")
    assert (size.items, size.width, size.max_length, size.depth, size.experts) == (20, 8, 5, 1, 3)
    assert size.features == {"text": 12, "image": 9}
    ours = model.state_dict()
    for place in places(size):
        given = made[EXPERTS] if place.theirs == EXPERTS else made["state_dict"][place.theirs]
        assert torch.equal(theirs_of(place, ours), given), place.theirs
    named = {p.theirs for p in places(size)} | {"txt_embedding.weight", "img_embedding.weight", "cat_embedding.weight"}
    assert named == {*made["state_dict"], EXPERTS}
    held = sum(theirs_of(p, ours).numel() for p in places(size))
    buffers = sum(ours[n].numel() for n in ours if n.endswith((".mean", ".scale")))
    assert held == sum(t.numel() for t in ours.values()) - buffers, "every number of ours is named once"
    assert verify._scores(model, case).shape == (4, 20)
    assert torch.isfinite(verify._losses(model, case)["loss"])


def test_numbers_survive_both_kinds_of_file(numbers, tmp_path):
    torch.save(numbers, tmp_path / "a.pt")
    save_numbers(read_numbers(tmp_path / "a.pt"), tmp_path / "b.safetensors")
    again = read_numbers(tmp_path / "b.safetensors")
    assert again["config"] == numbers["config"]
    one, two = again["cases"]["real_time"]["train.grad"], numbers["cases"]["real_time"]["train.grad"]
    assert one.keys() == two.keys()
    assert all(torch.equal(one[n], two[n]) for n in one)


class Anything:
    pass


def test_files_that_are_not_what_they_should_be(numbers, tmp_path):
    (tmp_path / "text.pt").write_text("no torch file")
    (tmp_path / "text.safetensors").write_text("no safetensors file")
    torch.save({"state_dict": Anything()}, tmp_path / "object.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    torch.save({"config": {}, "state_dict": {}, EXPERTS: torch.ones(1), "cases": {"a": {}}}, tmp_path / "bare.pt")
    for name, told in {
        "absent.pt": "does not exist",
        "text.pt": "not a torch file of tensors",
        "text.safetensors": "is damaged",
        "object.pt": "not a torch file of tensors",
        "list.pt": "holds a list, a dict of tensors is needed",
        "bare.pt": "is missing for case 'a'",
    }.items():
        with pytest.raises(InputError, match=told) as error:
            run_verify(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="has no 'config'"):
        torch.save({"state_dict": {}}, tmp_path / "part.pt")
        run_verify(tmp_path / "part.pt")

    def lacking(copy, _):
        del copy["state_dict"]["item_ln.bias"]

    with pytest.raises(InputError, match="lack 'item_ln.bias'"):
        run_verify(spoilt(numbers, tmp_path, lacking))

    def fewer(copy, _):
        copy["state_dict"]["txt_embedding.weight"] = torch.zeros(7, 12)

    with pytest.raises(InputError, match="txt_embedding.weight has 7 rows, the item table has 31"):
        run_verify(spoilt(numbers, tmp_path, fewer))

    def heads(copy, _):
        copy["config"] = {**copy["config"], "n_heads": 3}

    with pytest.raises(InputError, match=r"width \(16\) must be a multiple of heads \(3\)"):
        run_verify(spoilt(numbers, tmp_path, heads))

    def text(copy, _):
        copy["state_dict"]["item_ln.bias"] = "none"

    with pytest.raises(InputError, match=r"item_ln.bias is no tensor"):
        run_verify(spoilt(numbers, tmp_path, text))

    def bent(copy, _):
        copy["state_dict"]["txt_ln.bias"] = torch.zeros(3)

    with pytest.raises(InputError, match=r"txt_ln.bias has shape \(3,\), here it must be \(16,\)"):
        run_verify(spoilt(numbers, tmp_path, bent))


def exported(numbers, tmp_path, ids):
    """As a user would export it; item ids in an order of their own."""
    file = tmp_path / "hm4sr.pt"
    torch.save({"state_dict": numbers["state_dict"], EXPERTS: numbers[EXPERTS], "item_ids": ids}, file)
    return file


def test_import_matches_items_by_their_ids(numbers, tmp_path):
    _, split = small(tmp_path / "d", circle(users=20, items=12, length=9))
    shuffled = [f"i{n:02d}" for n in np.random.default_rng(0).permutation(30)]
    file = exported(numbers, tmp_path, ["[PAD]", *shuffled])
    model = published_model(split, file, interval_scale=10)
    theirs = verify._model({**numbers}, FIXTURE).eval()
    row = [PAD, *(1 + shuffled.index(name) for name in split.dataset.item_ids[1:])]
    torch.testing.assert_close(model.rows.all(), theirs.rows.all()[row])
    batch = verify._batch(numbers["cases"]["small_time"])
    items = batch.items.clamp(max=12)
    mine = model.last_state(replace(batch, items=items), model.rows.all())
    same = theirs.last_state(replace(batch, items=torch.tensor(row)[items]), theirs.rows.all())
    torch.testing.assert_close(mine, same)
    found = run_import(split, file, interval_scale=10, cutoffs=(10,))
    assert isinstance(found["ndcg@10"], Estimate)
    assert 0 < found["hit_rate@10"].value <= 1


def test_import_of_other_items_is_one_sentence(numbers, tmp_path):
    _, split = small(tmp_path / "d", circle(users=20, items=12, length=9))
    ids = ["[PAD]", *(f"i{n:02d}" for n in range(1, 31))]
    with pytest.raises(InputError, match=r"lacks 1 of 12 items of the log, such as 'i00'"):
        published_model(split, exported(numbers, tmp_path, ids))
    with pytest.raises(InputError, match="has 12 item ids for 30 items"):
        published_model(split, exported(numbers, tmp_path, ["[PAD]", *(f"i{n:02d}" for n in range(12))]))
    torch.save({"state_dict": numbers["state_dict"]}, tmp_path / "bare.pt")
    with pytest.raises(InputError, match="has no 'time_moe_expert'"):
        published_model(split, tmp_path / "bare.pt")
