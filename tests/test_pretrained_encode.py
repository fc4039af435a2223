"""`medley encode` with pretrained encoders and views, on a small bazaar: as a user does it, killed, and from Python."""

import json
import os
import shutil
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from medleyrec.dataset.cuts import SplitConfig, make_split
from medleyrec.features import open_table
from medleyrec.features import table as feature_tables
from medleyrec.features.base import read_facts
from medleyrec.features.pretrained.text import PretrainedTextEncoder
from medleyrec.recipes.contents import Attributes, Field, without_pictures
from medleyrec.recipes.encode import encoder_of, features_folder
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.project import Project
from medleyrec.schema import InputError
from medleyrec.storage import digest_bytes
from tests import tiny_models

ROOT = Path(__file__).parent.parent


class Heard(Listener):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("bert", "siglip", "dinov2"):
            getattr(tiny_models, f"save_{name}")(home / name)
    return home


@pytest.fixture(scope="module")
def bazaar(tmp_path_factory):
    """About 190 items with pictures."""
    folder = tmp_path_factory.mktemp("bazaar") / "shop"
    Project(folder).prepare(kind="bazaar", users=40, items=864, prepare={"min_user_events": 1, "min_item_events": 1})
    return folder


@pytest.fixture
def shop(bazaar, tmp_path):
    """A project of its own over the same dataset."""
    shutil.copytree(bazaar, tmp_path / "shop")
    return Project(tmp_path / "shop", listener=Heard())


def split_of(project):
    return make_split(project.dataset, SplitConfig())


def table(project, name):
    return features_folder(split_of(project)) / name


def test_the_command_line_takes_any_model(shop, models):
    command = [sys.executable, "-m", "medleyrec.cli", "encode", str(shop.folder)]
    chosen = ["--text", str(models / "bert"), "--image", str(models / "dinov2"), "--offline"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(
        [*command, *chosen, "--set", "encode.text_settings.pooling=cls"], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    items = shop.dataset.num_items - 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"text: bert, width 16: {items} items: {items} encoded, 0 reused."
    assert lines[1] == f"image: dinov2, width 16: {items} items: {items} encoded, 0 reused."
    assert len(lines) == 3
    manifest = json.loads((table(shop, "text") / "manifest.json").read_text())
    assert manifest["origin"] == {
        "model": "bert",
        "commit": None,
        "dtype": "float32",
        "pooling": "cls",
        "max_tokens": None,
        "prompt": "",
    }


def test_another_encoder_and_other_settings_are_told_with_the_way_back(shop, models):
    heard = shop.listener = Heard()
    for text, pooling in (("bert", "cls"), ("bert", "last"), ("siglip", "auto")):
        settings = {"pooling": pooling}
        shop.encode(text=str(models / text), image="none", text_settings=settings)
    changes = [said for said in heard.said if "former vectors" in said]
    assert changes[0].startswith("text is made anew by bert, with other settings, weights or vectors than before")
    assert changes[1].startswith(
        "text is now made by siglip, which was bert: runs trained on the former vectors fit no"
    )
    assert changes[1].endswith("(`medley encode` with --text PATH/bert goes back).")
    shop.encode(text="none", image=str(models / "dinov2"))
    shop.encode(text="none")
    assert heard.said[-2].endswith("(`medley encode` with --image PATH/dinov2 goes back).")


def test_from_python_and_back_to_the_encoder_that_made_a_table(shop, models):
    told = shop.encode(text=str(models / "siglip"), image=str(models / "siglip"))
    assert {name: report.encoder for name, report in told.items()} == {"text": "siglip", "image": "siglip"}
    for name in ("text", "image"):
        encoder = encoder_of(shop.folder, split_of(shop), name)
        assert encoder.modality == name
        assert encoder.revision == told[name].revision
        vectors, present = open_table(table(shop, name))
        assert present[1:].all()
    picture = shop.dataset.picture(5)
    np.testing.assert_allclose(encoder.encode([picture]).vectors[0], vectors[5], atol=2e-3)


def test_a_second_time_no_model_is_opened(shop, models, monkeypatch):
    shop.encode(text=str(models / "bert"), image="none")
    import medleyrec.features.pretrained.text as text

    monkeypatch.setattr(text, "open_text_tower", lambda *a: pytest.fail("the model was opened"))
    assert shop.encode(text=str(models / "bert"), image="none")["text"].unchanged


def test_the_pointer_follows_a_model_that_moved(shop, models, tmp_path):
    (tmp_path / "here").mkdir()
    shutil.copytree(models / "bert", tmp_path / "here" / "bert")
    shop.encode(text=str(tmp_path / "here" / "bert"), image="none")
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(InputError, match="is in no folder here"):
        encoder_of(shop.folder, split_of(shop), "text")
    assert shop.encode(text=str(tmp_path / "there" / "bert"), image="none")["text"].unchanged
    assert encoder_of(shop.folder, split_of(shop), "text").encode([b"red"]).reasons == (None,)


def test_settings_of_a_fitted_encoder(shop):
    assert shop.encode(image="none", text_settings={"width": 7})["text"].width == 7
    with pytest.raises(InputError, match=r"encode\.text_settings: unknown key 'widht'; did you mean 'width'"):
        shop.encode(image="none", text_settings={"widht": 7})
    with pytest.raises(InputError, match="'minilm' encodes text, not image"):
        shop.encode(image="minilm")


KILLED = """
import os, signal, sys
from tests.test_pretrained_encode import logged
from medleyrec.features import table
from medleyrec.features.pretrained.text import PretrainedTextEncoder as Encoder
from medleyrec.recipes.project import Project
folder, model, log = sys.argv[1:]
table.FIRST_BATCH = table.LAST_BATCH = 16
table.COMMIT_ITEMS = 1
calls = []
def kill():
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)  # computed, but not committed
Encoder.encode = logged(Encoder.encode, log, kill)
Project(folder).encode(text=model, image="none")
"""


def logged(encode, log, then):
    """`encode` that writes down what it is asked for."""

    def asked(self, contents):
        found = encode(self, contents)
        with Path(log).open("a") as file:
            file.writelines(digest_bytes(content).hex() + "\n" for content in contents)
        then()
        return found

    return asked


def test_after_a_kill_nothing_committed_is_encoded_again(shop, models, tmp_path, monkeypatch):
    command = [sys.executable, "-c", KILLED, str(shop.folder), str(models / "bert"), str(tmp_path / "first")]
    done = subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    first = (tmp_path / "first").read_text().split()
    assert (done.returncode, len(first)) == (-signal.SIGKILL, 64)
    again = logged(PretrainedTextEncoder.encode, tmp_path / "second", lambda: None)
    monkeypatch.setattr(PretrainedTextEncoder, "encode", again)
    report = shop.encode(text=str(models / "bert"), image="none")["text"]
    second = (tmp_path / "second").read_text().split()
    assert not set(first[:48]) & set(second), "three commits of 16 survived"
    assert set(first[48:]) <= set(second), "the fourth did not"
    assert len(second) == len(set(second)) == report.encoded
    assert report.reused == 48
    assert open_table(table(shop, "text"))[1][1:].all()


def test_commits_grow_while_an_encoder_is_quick_and_shrink_while_it_is_slow(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(feature_tables.time, "monotonic", lambda: now[0])
    sizes = []
    for n, rows in enumerate(feature_tables._timed_batches(np.arange(4000))):
        sizes.append(len(rows))
        now[0] += 0.1 if n < 6 else 60
    assert sizes[:6] == [64, 128, 256, 512, 1024, 1024]
    assert sizes[6:9] == [992]
    slow = feature_tables._timed_batches(np.arange(200))
    sizes = []
    for rows in slow:
        sizes.append(len(rows))
        now[0] += 60
    assert sizes[:4] == [64, 32, 16, 16]
    assert sum(sizes) == 200


# --- views


def describe(monkeypatch, answers):
    """As if descriptions had been written; `answers(dataset)` gives view -> one entry per item."""
    module = types.ModuleType("medleyrec.recipes.describe")
    module.described_views = lambda project, dataset, use=None: ("template (stand-in)", answers(dataset))
    monkeypatch.setitem(sys.modules, "medleyrec.recipes.describe", module)


def test_no_views_without_descriptions(shop, models):
    assert list(shop.encode(text=str(models / "bert"), image="none")) == ["text"]


def test_the_attributes_of_an_item_are_a_sentence():
    row = {
        "title": "A <b>red</b> shirt",
        "description": "x" * 300,
        "categories": [["Clothes", "Shirts"], ["Other"]],
        "brand": None,
        "price": 12.5,
    }
    catalogue = pa.Table.from_pylist([row, dict.fromkeys(row)])
    content = Attributes(types.SimpleNamespace(catalogue=catalogue, item_ids=["", "a", "b"], num_items=3))
    assert len(content) == 2
    assert content[0].decode() == (
        "The item has these attributes: title is A red shirt; categories are Clothes, Shirts; price is 12.5; "
        "description is " + "x" * 100
    )
    assert content[1] is None


def test_fields_are_encoded_one_by_one(shop):
    count = shop.dataset.num_items - 1
    told = shop.encode(image="none", views=["field_title", "field_categories"])
    assert list(told) == ["text", "field_title", "field_categories"]
    titles, groups = (Field(shop.dataset, name) for name in ("title", "categories"))
    assert titles[3].decode() == shop.dataset.catalogue.column("title")[3].as_py()
    assert groups[3].decode() == ", ".join(shop.dataset.catalogue.column("categories")[3].as_py()[0])
    vectors, present = open_table(table(shop, "field_categories"))
    same = [i for i in range(count) if groups[i] == groups[3]]
    assert present[1:].all()
    assert 1 < len(same) < count
    assert np.array_equal(vectors[1 + same[0]], vectors[1 + same[-1]]), "equal categories, equal vectors"
    titled, _ = open_table(table(shop, "field_title"))
    assert not np.array_equal(titled[1 + same[0]], titled[1 + same[-1]])
    manifest = shop.folder / "dataset" / "manifest.json"
    priceless = json.loads(manifest.read_text())
    priceless["coverage"]["price"] = 0.0
    manifest.write_text(json.dumps(priceless))
    with pytest.raises(InputError, match="no item has a price, so there is nothing to encode as field_price"):
        shop.encode(image="none", views=["field_price"])


def test_views_are_made_by_the_text_encoder(shop, models, monkeypatch):
    count = shop.dataset.num_items - 1
    (shop.folder / "descriptions").mkdir()
    some = [f"a large thing number {i}" if i % 2 else None for i in range(count)]
    describe(monkeypatch, lambda dataset: {"described_text": some, "described_both": [" "] * count})
    told = shop.encode(text=str(models / "bert"), image="none")
    assert list(told) == ["text", "attributes", "described_text", "described_both"]
    assert {report.encoder for report in told.values()} == {"bert"}
    assert len({report.revision for report in told.values()}) == 1, "one model for all of them"
    _, present = open_table(table(shop, "described_text"))
    assert present[1:].tolist() == [i % 2 == 1 for i in range(count)]
    assert told["described_both"].missing == {"not described": count}
    covered = sum(entry is not None for entry in some) / count
    told_of = f"described_text (template (stand-in)) covers {covered:.1%} of the {count} items."
    assert told_of in shop.listener.said
    manifest = json.loads((table(shop, "described_text") / "manifest.json").read_text())
    assert (manifest["origin"]["written"], manifest["origin"]["model"]) == ("template (stand-in)", "bert")
    assert f"attributes covers 100.0% of the {count} items." in shop.listener.said
    assert list(shop.encode(text=str(models / "bert"), image="none", views=["attributes"])) == ["text", "attributes"]
    with pytest.raises(InputError, match="no descriptions for described_image yet; run `medley describe` first"):
        shop.encode(text=str(models / "bert"), image="none", views=["described_image"])


def test_fitted_encoders_are_kept_for_each_view(shop):
    shop.encode(image="none", views=["attributes"])
    made = {name: json.loads((table(shop, name) / "manifest.json").read_text()) for name in ("text", "attributes")}
    revisions = {name: manifest["revision"] for name, manifest in made.items()}
    assert revisions["text"] != revisions["attributes"]
    kept = [read_facts(path)["revision"] for path in (shop.folder / "store" / "fitted" / "tfidf-svd").iterdir()]
    assert sorted(kept) == sorted(revisions.values())
    assert encoder_of(shop.folder, split_of(shop), "attributes").revision == revisions["attributes"]


def test_an_item_without_a_picture_takes_the_text_view():
    described = {
        "described_text": ["t0", "t1", "t2", None, "t4"],
        "described_image": ["i0", None, None, None, None],
        "described_both": ["b0", None, "b2", None, None],
    }
    filled, bare = without_pictures(described, lambda i: i in (0, 4))
    assert filled["described_image"] == ["i0", "t1", "t2", None, None], "the last has a picture, not yet described"
    assert filled["described_both"] == ["b0", "t1", "b2", None, None]
    assert filled["described_text"] == described["described_text"]
    assert bare == 2
    assert without_pictures({"described_image": [None]}, pytest.fail) == ({"described_image": [None]}, 0)


def test_the_share_of_items_without_a_picture_is_said(shop, models, monkeypatch):
    from medleyrec.dataset.dataset import Dataset

    count = shop.dataset.num_items - 1
    (shop.folder / "descriptions").mkdir()
    monkeypatch.setattr(Dataset, "picture", lambda self, row: None if row <= 10 else b"x")
    texts = {"described_text": ["red shirt"] * count, "described_image": [None] * count}
    describe(monkeypatch, lambda dataset: texts)
    shop.encode(text=str(models / "bert"), image="none")
    assert f"{10 / count:.1%} of items have no picture: their picture views take the text view." in shop.listener.said
    assert open_table(table(shop, "described_image"))[1].sum() == 10
