"""Files are whole or absent; settings are known or refused."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from pydantic import Field

from medleyrec import storage
from medleyrec.config import Config, parse, read_toml, with_overrides
from medleyrec.schema import InputError


class Inner(Config):
    rate: float = Field(default=0.1, gt=0)


class Outer(Config):
    name: str
    inner: Inner = Inner()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.json"
    storage.write_json(target, {"b": 1, "a": 2})
    assert target.read_text() == '{\n "a": 2,\n "b": 1\n}\n'
    with pytest.raises(RuntimeError), storage.atomic_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert storage.read_json(target) == {"a": 2, "b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "d"
    for content in ("one", "two"):
        with storage.atomic_folder(target) as partial:
            (partial / "x").write_text(content)
    with pytest.raises(RuntimeError), storage.atomic_folder(target) as partial:
        (partial / "x").write_text("three")
        raise RuntimeError
    assert (target / "x").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from medleyrec.storage import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1]) / 'd') as p:\n"
        "    (p / 'x').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "d").exists()
    assert len(os.listdir(tmp_path)) == 1
    with storage.atomic_folder(tmp_path / "d") as partial:
        (partial / "x").write_text("whole")
    assert os.listdir(tmp_path) == ["d"]


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError):
        storage.write_json(tmp_path / "a.json", float("nan"))


def test_damage_is_one_sentence(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    for damaged in ("{", "[" * 100_000, "9" * 5000):
        (tmp_path / "a.json").write_text(damaged)
        with pytest.raises(InputError, match="is not valid JSON"):
            storage.read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="is damaged"):
        storage.open_array(tmp_path / "a.npy")
    with pytest.raises(InputError, match="does not exist"):
        storage.open_array(tmp_path / "b.npy")


def test_arrays_come_back_and_hashes_tell_parts_apart(tmp_path):
    storage.save_array(tmp_path / "a.npy", np.arange(5))
    assert storage.open_array(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 4]
    assert storage.hash_bytes(b"ab", b"c") != storage.hash_bytes(b"a", b"bc")
    assert storage.hash_json({"a": 1, "b": 2}) == storage.hash_json({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "x", "inner": {"rtae": 1}}, r"shop.toml: unknown key 'inner.rtae'; did you mean 'rate'\?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz'; known here: inner, name"),
        ({}, "'name' is missing"),
        ({"name": "x", "inner": {"rate": "fast"}}, "inner.rate = 'fast' does not fit"),
        ({"name": "x", "inner": {"rate": -1}}, "inner.rate = -1 does not fit: Input should be greater than 0"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(values, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        parse(Outer, values, where="shop.toml")
    assert "\n" not in str(caught.value)


def test_overrides_are_read_as_toml_or_as_text():
    given = {"name": "x", "inner": {"rate": 1.0}}
    made = with_overrides(given, ["inner.rate=0.5", "name=plain text", "new.list=[1, 2]"])
    assert made == {"name": "plain text", "inner": {"rate": 0.5}, "new": {"list": [1, 2]}}
    assert given["inner"] == {"rate": 1.0}
    with pytest.raises(InputError, match="not of the form key=value"):
        with_overrides({}, ["rate"])
    with pytest.raises(InputError, match="'name' is a value, not a table"):
        with_overrides(given, ["name.x=1"])


def test_a_toml_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match=r"bad.toml is not valid TOML .*line 1.*; mend that place"):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(InputError, match="does not exist"):
        read_toml(tmp_path / "none.toml")
