"""Where a model comes from: a folder, the hub's local cache, and only then the hub, after a sentence.

The network is never asked here.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from medleyrec.features.pretrained import fetched, find_model, hub
from medleyrec.schema import InputError
from tests import tiny_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "makers/tiny-bert"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tiny_models.save_bert(tmp_path_factory.mktemp("bert") / "m")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Whoever opens a connection fails."""

    def refused(*args, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    import huggingface_hub

    original = huggingface_hub.snapshot_download
    place = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **o: original(*a, cache_dir=place, **o))
    return place


def fill(cache: Path, source: Path) -> Path:
    """As the hub's own client lays a snapshot down."""
    home = cache / "models--makers--tiny-bert"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(source, home / "snapshots" / COMMIT)
    files = [*(path.name for path in source.iterdir()), "README.md", "pytorch_model.bin", "onnx/config.json"]
    tree = {"format_version": 1, "files": {name: {"size": 1, "blob_id": "0" * 40} for name in files}}
    (home / "trees").mkdir()
    (home / "trees" / f"{COMMIT}.json").write_text(json.dumps(tree))  # all that the hub has, fetched or not
    return home / "snapshots" / COMMIT


def test_a_cached_model_is_found_with_its_commit(bert, cache):
    fill(cache, bert)
    place = find_model(NAME)
    assert (place.model, place.commit, place.name) == (NAME, COMMIT, "tiny-bert")
    assert fetched(NAME, offline=True, say=pytest.fail) == place


def test_what_another_program_adds_to_the_cache_changes_nothing(bert, cache, tmp_path):
    from medleyrec.features import load_encoder, pretrained_class

    snapshot = fill(cache, bert)
    kind = pretrained_class("text")
    encoder = kind.fit([], kind.settings(model=NAME))
    encoder.save(tmp_path / "e")
    assert encoder.origin["commit"] == COMMIT
    (snapshot / "special_tokens_map.json").write_text("{}")
    assert load_encoder(tmp_path / "e").revision == encoder.revision


def test_the_hub_is_asked_once_and_after_a_sentence(bert, cache):
    told = []

    def download(model, commit):
        told.append((model, commit))
        fill(cache, bert)

    place = fetched(NAME, say=told.append, download=download)
    assert place.commit == COMMIT
    assert len(told) == 2
    assert told[0].startswith(f"{NAME} is in no folder here and not in the local cache: its configuration")
    assert told[1] == (NAME, None)
    assert fetched(NAME, say=pytest.fail, download=pytest.fail) == place


def test_a_cut_download_goes_on(bert, cache):
    snapshot = fill(cache, bert)
    (snapshot / "model.safetensors").unlink()
    asked = []

    def download(model, commit):
        asked.append(model)
        shutil.copy(bert / "model.safetensors", snapshot)

    assert fetched(NAME, say=lambda _: None, download=download).commit == COMMIT
    assert asked == [NAME]


def test_a_download_that_was_cut_before_a_small_file_goes_on(bert, cache):
    """Without its tokenizer, or modules.json, a model would be opened otherwise, or not at all."""
    (fill(cache, bert) / "tokenizer.json").unlink()
    assert find_model(NAME) is None


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_offline_forbids_the_hub(cache, monkeypatch, by):
    if by == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"makers/tiny-bert is in no folder .* fetching it is forbidden \(--offline\)"):
        fetched(NAME, offline=by == "argument", say=pytest.fail, download=pytest.fail)


def test_a_word_that_is_no_model_is_not_looked_for(cache):
    with pytest.raises(InputError, match="there is no encoder 'tfdif': give tfidf-svd, descriptors, minilm, a folder"):
        fetched("tfdif", say=pytest.fail, download=pytest.fail)
    with pytest.raises(InputError, match="there is no encoder '/no/such/folder'"):
        fetched("/no/such/folder", say=pytest.fail, download=pytest.fail)


def test_what_the_hub_answers_becomes_a_sentence(cache, monkeypatch):
    import huggingface_hub

    def answer(error):
        class Api:
            def model_info(self, *args, **options):
                if isinstance(error, Exception):
                    raise error
                return error

        monkeypatch.setattr(huggingface_hub, "HfApi", Api)

    answer(ConnectionError("no route to host"))
    with pytest.raises(InputError, match=r"could not be fetched \(no route to host\); run again"):
        fetched(NAME, say=lambda _: None)
    files = type("Info", (), {"siblings": [type("File", (), {"rfilename": "pytorch_model.bin"})]})
    answer(files)
    with pytest.raises(InputError, match=r"has no weights as \.safetensors on the hub; pickles are never read"):
        fetched(NAME, say=lambda _: None)


def test_only_what_a_model_needs_is_fetched(bert, cache, monkeypatch):
    import huggingface_hub

    asked = {}

    class Api:
        def model_info(self, *args, **options):
            return type("Info", (), {"siblings": [type("File", (), {"rfilename": "model.safetensors"})]})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda model, **options: asked.update(options))
    hub._download(NAME, "v1")
    assert asked["revision"] == "v1"
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])
    assert "onnx/*" in asked["ignore_patterns"]


def test_absent_libraries_are_one_sentence(tmp_path):
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; sys.modules['transformers'] = None\n"
        "from medleyrec.features.pretrained import find_model\n"
        "from medleyrec.features.pretrained.loading import quiet\n"
        "for ask in (lambda: find_model('makers/tiny-bert'), lambda: quiet().__enter__()):\n"
        "    try: ask()\n"
        "    except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout == "pretrained encoders need more packages: pip install 'medleyrec[features]'\n" * 2


def test_what_another_program_fetched_in_part_is_said(bert, cache, tmp_path):
    """Of a model with CLS pooling, transformers alone fetches no modules.json."""
    from medleyrec.features import VectorStore
    from medleyrec.recipes.encoders import Encoders
    from medleyrec.recipes.experiment import EncodeConfig
    from medleyrec.recipes.listener import Listener

    snapshot, told, listener = fill(cache, bert), [], Listener()
    listener.say = told.append

    def opened(**settings):
        config = EncodeConfig(text=NAME, offline=True, text_settings=settings)
        Encoders(VectorStore(tmp_path), None, config, listener).of("text", "text", [], refit=False)

    opened()
    assert told == [], "the cache knows that nothing is missing"
    shutil.rmtree(snapshot.parents[1] / "trees")
    opened(pooling="cls")
    assert told == []
    opened()
    assert told[0].startswith(f"Caution: another program left {NAME} in the local cache, perhaps in part: if it")


def test_a_model_with_code_of_its_own_is_one_sentence_without_transformers(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "auto_map": {}}))
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from medleyrec.features.pretrained import find_model\n"
        "try: find_model(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "pretrained encoders need more packages: pip install 'medleyrec[features]'\n"
