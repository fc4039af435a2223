"""From contents to a feature table: what is reused, what is told, what survives a kill."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medleyrec.config import Config
from medleyrec.features import (
    VectorStore,
    encode_items,
    encoder_class,
    load_encoder,
    open_features,
    open_table,
    ready_encoder,
    store,
    table,
)
from medleyrec.features.base import Encoded
from medleyrec.schema import TEXT, InputError

ROOT = Path(__file__).parent.parent


class ToyEncoder:
    """Vectors are digests of the content; contents that start with "bad" fail. Remembers what it was given."""

    name, modality, settings = "toy", TEXT, Config
    width = 4

    def __init__(self, revision="1"):
        self.revision, self.calls = revision, []

    def encode(self, contents):
        self.calls += contents
        vectors = np.array([[b / 255 for b in hashlib.sha256(c).digest()[:4]] for c in contents], np.float32)
        return Encoded(vectors.reshape(-1, 4), tuple("bad word" if c.startswith(b"bad") else None for c in contents))


CONTENTS = [b"one", b"two", None, b"bad three", b"one", b"four", b"five", b"bad six", b"", b"seven"]


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_rows_reasons_and_vectors(tmp_path):
    encoder = ToyEncoder()
    report = encode_items(CONTENTS, encoder, VectorStore(tmp_path / "store"), tmp_path / "text", batch=3)
    assert encoder.calls == [b"one", b"two", b"bad three", b"four", b"five", b"bad six", b"", b"seven"]
    assert (report.total, report.encoded, report.reused, report.unchanged) == (10, 9, 0, False)
    assert report.missing == {"bad word": 2, "no text": 1}
    assert report.examples == {"bad word": [4, 8], "no text": [3]}
    assert "10 items: 9 encoded, 0 reused; 2 missing: bad word (rows 4, 8); 1 missing: no text (rows 3)" in str(report)
    vectors, present = open_table(tmp_path / "text")
    assert vectors.dtype == np.float16
    assert vectors.shape == (11, 4)
    assert np.flatnonzero(~present).tolist() == [0, 3, 4, 8]
    assert not vectors[~present].any()
    alone = ToyEncoder().encode([c or b"" for c in CONTENTS]).vectors.astype(np.float16)
    np.testing.assert_array_equal(vectors[1:][present[1:]], alone[present[1:]])


def test_a_second_run_does_nothing_and_tells_the_same(tmp_path):
    store = VectorStore(tmp_path / "store")
    first = encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "text")
    before = files(tmp_path)
    encoder = ToyEncoder()
    second = encode_items(CONTENTS, encoder, store, tmp_path / "text")
    assert second.unchanged
    assert not encoder.calls
    assert "nothing to do" in str(second)
    assert (second.missing, second.examples) == (first.missing, first.examples)
    assert files(tmp_path) == before


def test_only_a_changed_item_is_encoded_again(tmp_path):
    store = VectorStore(tmp_path / "store")
    encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "text")
    changed = [*CONTENTS[:5], b"changed", *CONTENTS[6:]]
    encoder = ToyEncoder()
    report = encode_items(changed, encoder, store, tmp_path / "text")
    assert encoder.calls == [b"changed"]
    assert (report.encoded, report.reused) == (1, 8)
    fresh = tmp_path / "fresh"
    encode_items(changed, ToyEncoder(), VectorStore(fresh / "store"), fresh / "text")
    assert files(tmp_path / "text") == files(fresh / "text")


def test_a_changed_order_encodes_nothing_and_moves_the_rows(tmp_path):
    store = VectorStore(tmp_path / "store")
    encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "a")
    encoder = ToyEncoder()
    encode_items(CONTENTS[::-1], encoder, store, tmp_path / "b")
    assert not encoder.calls
    np.testing.assert_array_equal(open_table(tmp_path / "b")[0][1:], open_table(tmp_path / "a")[0][:0:-1])


def test_another_revision_encodes_everything(tmp_path):
    store = VectorStore(tmp_path / "store")
    encode_items(CONTENTS, ToyEncoder("1"), store, tmp_path / "text")
    assert encode_items(CONTENTS, ToyEncoder("2"), store, tmp_path / "text").encoded == 9


@pytest.mark.parametrize("name", ["vectors.npy", "present.npy", "manifest.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:20])])
def test_a_damaged_table_is_made_again(tmp_path, name, damage):
    store = VectorStore(tmp_path / "store")
    encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "text")
    whole = files(tmp_path / "text")
    damage(tmp_path / "text" / name)
    with pytest.raises(InputError):
        open_table(tmp_path / "text")
    assert not encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "text").unchanged
    assert files(tmp_path / "text") == whole


def test_progress_counts_items_up_to_the_total(tmp_path):
    told = []
    store = VectorStore(tmp_path)
    encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "t", batch=3, progress=lambda *a: told.append(a))
    assert told == [(5, 10), (8, 10), (10, 10)]


def test_contents_are_read_one_batch_at_a_time(tmp_path):
    class Lazy:
        held, most = 0, 0

        def __len__(self):
            return 50

        def __getitem__(self, i):
            Lazy.held += 1
            return str(i).encode()

    class Watching(ToyEncoder):
        def encode(self, contents):
            Lazy.most, Lazy.held = max(Lazy.most, Lazy.held), 0
            return super().encode(contents)

    encoder = Watching()
    store = VectorStore(tmp_path)
    space_hash = table.hash_contents(Lazy())
    assert len(space_hash[0]) == 50
    Lazy.held = -50  # the pass that hashes
    encode_items(Lazy(), encoder, store, tmp_path / "t", batch=7)
    assert Lazy.most == 7
    assert len(encoder.calls) == 50


def test_content_that_changes_meanwhile_is_not_stored_under_the_wrong_hash(tmp_path):
    class Changing(list):
        reads = 0

        def __getitem__(self, i):
            Changing.reads += 1
            return b"first" if Changing.reads <= 2 else b"second"

    with pytest.raises(InputError, match="item row 1 changed while"):
        encode_items(Changing([b"", b""]), ToyEncoder(), VectorStore(tmp_path), tmp_path / "t")


def test_open_features_names_what_is_lacking(tmp_path):
    store = VectorStore(tmp_path / "store")
    encode_items(CONTENTS, ToyEncoder(), store, tmp_path / "features" / "text")
    features = open_features(tmp_path / "features", ["text"])
    assert features.widths == {"text": 4}
    assert features.present["text"].sum() == 7
    with pytest.raises(InputError, match=r"\['image'\] are not encoded in .*; run `medley encode` first"):
        open_features(tmp_path / "features", ["text", "image"])
    encode_items(CONTENTS[:3], ToyEncoder(), store, tmp_path / "features" / "image")
    with pytest.raises(InputError, match="differ in height"):
        open_features(tmp_path / "features", ["text", "image"])


def test_no_items_at_all(tmp_path):
    report = encode_items([], ToyEncoder(), VectorStore(tmp_path), tmp_path / "t")
    assert report.total == 0
    assert open_table(tmp_path / "t")[0].shape == (1, 4)


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point):
    """Make the process kill itself at one point of the work."""
    add, write_json, calls = store._add, store.write_json, []

    def half_written(path, rows):
        calls.append(path)
        if len(calls) == 4:  # the second batch's vectors
            add(path, rows[: len(rows) // 2])
            die()
        add(path, rows)

    def second_commit(target, value):
        calls.append(target)
        if len(calls) == 2:
            die()
        write_json(target, value)

    patches = {
        "half-written": (store, "_add", half_written),
        "before-commit": (store, "write_json", second_commit),
        "before-table": (table, "_write_table", die),
        "inside-table": (table, "save_array", die),
        "before-manifest": (table, "write_json", die),
    }
    if point in patches:
        setattr(*patches[point])
    return die if point == "after-batch" else None


def encode_in(folder, point):
    encode_items(CONTENTS, ToyEncoder(), VectorStore(folder / "store"), folder / "text", batch=3, progress=arm(point))


@pytest.mark.parametrize(
    "point", ["after-batch", "half-written", "before-commit", "before-table", "inside-table", "before-manifest"]
)
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, point):
    script = (
        "import sys; from pathlib import Path; from tests.test_features_table import encode_in; "
        "encode_in(Path(sys.argv[1]), sys.argv[2])"
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    done = subprocess.run([sys.executable, "-c", script, str(killed), point], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (killed / "text").exists()
    encoder = ToyEncoder()
    encode_items(CONTENTS, encoder, VectorStore(killed / "store"), killed / "text", batch=3)
    assert len(encoder.calls) == {"after-batch": 5, "half-written": 5, "before-commit": 5}.get(point, 0)
    encode_in(whole, "never")
    assert files(killed) == files(whole)


def counted_commits(monkeypatch):
    """The number of rows of each commit, as they come."""
    sizes, append = [], store.Space.append

    def counting(self, keys, vectors, reasons):
        sizes.append(len(keys))
        append(self, keys, vectors, reasons)

    monkeypatch.setattr(store.Space, "append", counting)
    return sizes


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [30]),  # a quick encoder: one commit of all
        ({"COMMIT_ITEMS": 8}, [8, 8, 8, 6]),
        ({"COMMIT_SECONDS": 0.0, "FIRST_BATCH": 16}, [16, 8, 4, 2]),  # a slow one: after every batch, and they shrink
    ],
)
def test_quick_batches_are_committed_together(tmp_path, monkeypatch, limits, expected):
    for name, value in {"FIRST_BATCH": 4, "LAST_BATCH": 4, **limits}.items():
        monkeypatch.setattr(table, name, value)
    sizes = counted_commits(monkeypatch)
    contents = [b"content %d" % i for i in range(30)]
    encode_items(contents, ToyEncoder(), VectorStore(tmp_path / "store"), tmp_path / "text")
    assert sizes == expected
    alone = ToyEncoder().encode(contents).vectors.astype(np.float16)
    np.testing.assert_array_equal(open_table(tmp_path / "text")[0][1:], alone)


def test_an_interruption_keeps_what_was_encoded(tmp_path, monkeypatch):
    for name in ("FIRST_BATCH", "LAST_BATCH"):
        monkeypatch.setattr(table, name, 4)

    class Interrupted(ToyEncoder):
        def encode(self, contents):
            if len(self.calls) == 8:
                raise KeyboardInterrupt
            return super().encode(contents)

    contents = [b"content %d" % i for i in range(30)]
    kept = VectorStore(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        encode_items(contents, Interrupted(), kept, tmp_path / "text")
    encoder = ToyEncoder()
    assert encode_items(contents, encoder, kept, tmp_path / "text").reused == 8
    assert encoder.calls == contents[8:]


WORDS = [f"{a} {b}".encode() for a in ("red", "blue", "green") for b in ("shirt", "shoe", "hat", "coat")]


def test_a_fitted_encoder_is_kept_until_a_refit_is_asked_for(tmp_path):
    kept = VectorStore(tmp_path)
    kind = encoder_class("tfidf-svd")
    first, fitted = ready_encoder(kind, kept, "shop", WORDS)
    again, refitted = ready_encoder(kind, kept, "shop", [*WORDS, b"a new yellow thing"])
    assert (fitted, refitted) == (True, False)
    assert again.revision == first.revision
    renewed, refitted = ready_encoder(kind, kept, "shop", [*WORDS, b"a new yellow thing"], refit=True)
    assert refitted
    assert renewed.revision != first.revision
    assert ready_encoder(kind, kept, "shop", WORDS)[0].revision == renewed.revision
    assert ready_encoder(kind, kept, "shop", WORDS, kind.settings(width=2))[1], "other settings are another encoder"
    assert ready_encoder(kind, kept, "other", WORDS)[1]


def test_one_changed_item_with_a_real_encoder(tmp_path):
    kept = VectorStore(tmp_path / "store")
    kind = encoder_class("tfidf-svd")
    encoder = ready_encoder(kind, kept, "shop", WORDS)[0]
    encode_items(WORDS, encoder, kept, tmp_path / "text")
    changed = [b"red red coat", *WORDS[1:]]
    report = encode_items(changed, ready_encoder(kind, kept, "shop", changed)[0], kept, tmp_path / "text")
    assert (report.encoded, report.reused) == (1, 11)


def test_an_unknown_encoder_is_named(tmp_path):
    with pytest.raises(InputError, match="no encoder 'clip'; there are: descriptors, tfidf-svd"):
        encoder_class("clip")
    with pytest.raises(InputError, match=r"encoder\.json does not exist"):
        load_encoder(tmp_path)
