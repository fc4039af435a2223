"""What every encoder must do. A fitted one enters this file by entering the registry, a pretrained one by a tiny model.

`encoder` is fitted on the contents; `any_encoder` may have been trained elsewhere.
"""

import io
import json
import os
import pickletools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medleyrec.config import Config
from medleyrec.features import (
    DEFAULT_ENCODERS,
    ENCODERS,
    VectorStore,
    encode_items,
    encoder_class,
    load_encoder,
    pretrained_class,
)
from medleyrec.features.imported import Given, ImportedEncoder
from medleyrec.schema import PICTURE, TEXT, InputError
from tests import tiny_models

ROOT = Path(__file__).parent.parent
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 210), "yellow": (230, 210, 40)}


def picture(colour, i):
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[8 + i : 28 + i, 6:30] = COLOURS[colour]
    pixels[::4, :, 0] ^= np.uint8(i)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def samples(modality):
    """Ten contents of each of four kinds, one kind after the other."""
    if modality == TEXT:
        return [f"{kind} {kind} thing number {i} of {i * i}".encode() for kind in COLOURS for i in range(10)]
    return [picture(kind, i) for kind in COLOURS for i in range(10)]


@pytest.fixture(params=sorted(ENCODERS), scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def contents(name):
    return samples(ENCODERS[name].modality)


@pytest.fixture(scope="module")
def encoder(name, contents):
    return encoder_class(name).fit(contents)


ELSEWHERE = {
    "bert": TEXT,
    "decoder": TEXT,
    "clip-text": TEXT,
    "siglip-text": TEXT,
    "clip": PICTURE,
    "siglip": PICTURE,
    "vit": PICTURE,
    "dinov2": PICTURE,
    "imported": TEXT,
}
EXACT = {*ENCODERS, "imported"}
"""Their vectors are equal bits whatever is beside a content; those of models are equal to rounding."""


@pytest.fixture(params=[*sorted(ENCODERS), *ELSEWHERE], scope="module")
def any_name(request):
    return request.param


@pytest.fixture(scope="module")
def any_contents(any_name):
    return samples(ENCODERS[any_name].modality if any_name in ENCODERS else ELSEWHERE[any_name])


@pytest.fixture(scope="module")
def any_encoder(any_name, any_contents, tmp_path_factory):
    if any_name in ENCODERS:
        return encoder_class(any_name).fit(any_contents)
    if any_name == "imported":
        vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
        return ImportedEncoder.of("mine", Given([content.decode() for content in any_contents], vectors))
    folder = tmp_path_factory.mktemp("models") / any_name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(tiny_models, f"save_{any_name.removesuffix('-text')}")(folder)
    kind = pretrained_class(ELSEWHERE[any_name])
    return kind.fit([], kind.settings(model=str(folder)))


def test_says_of_itself_what_the_registry_says(name, encoder):
    assert encoder.name == name
    assert encoder.modality == ENCODERS[name].modality
    assert issubclass(encoder.settings, Config)


def test_every_modality_has_a_default():
    assert {m: ENCODERS[n].modality for m, n in DEFAULT_ENCODERS.items()} == {m: m for m in (TEXT, PICTURE)}


def test_rows_are_unit_vectors_of_the_stated_width(any_name, any_encoder, any_contents):
    found = any_encoder.encode(any_contents)
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == (40, any_encoder.width)
    assert found.reasons == (None,) * 40
    tolerance = 2e-3 if any_name == "imported" else 1e-5  # kept as float16
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=tolerance)


def test_items_of_one_kind_are_nearer_than_items_of_two(encoder, contents):
    vectors = encoder.encode(contents).vectors
    likeness = (vectors @ vectors.T).reshape(4, 10, 4, 10).mean(axis=(1, 3))
    within, across = likeness.diagonal(), likeness[~np.eye(4, dtype=bool)]
    assert within.min() > across.max() + 0.3


def test_finds_no_kinds_in_noise(name):
    rng = np.random.default_rng(0)
    if ENCODERS[name].modality == TEXT:
        noise = [" ".join(f"w{n}" for n in rng.integers(0, 300, 12)).encode() for _ in range(80)]
    else:
        noise = [png(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in range(80)]
    vectors = encoder_class(name).fit(noise).encode(noise).vectors
    likeness = (vectors @ vectors.T).reshape(4, 20, 4, 20)
    off = ~np.eye(20, dtype=bool)
    within = np.mean([likeness[k, :, k][off].mean() for k in range(4)])
    across = np.mean([likeness[j, :, k].mean() for j in range(4) for k in range(4) if j != k])
    assert abs(within - across) < 0.02


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_unseen_items_join_their_kind(name, contents):
    kept = [c for i, c in enumerate(contents) if i % 10]  # the first of each kind is not fitted on
    encoder = encoder_class(name).fit(kept)
    known, unseen = encoder.encode(kept).vectors, encoder.encode(contents[::10]).vectors
    nearest = (unseen @ known.T).reshape(4, 4, 9).mean(axis=2).argmax(axis=1)
    assert nearest.tolist() == [0, 1, 2, 3]


def test_saved_and_loaded_gives_equal_bits(any_encoder, any_contents, tmp_path):
    any_encoder.save(tmp_path / "e")
    again = load_encoder(tmp_path / "e")
    assert (again.name, again.revision, again.width) == (any_encoder.name, any_encoder.revision, any_encoder.width)
    assert again.encode(any_contents).vectors.tobytes() == any_encoder.encode(any_contents).vectors.tobytes()


def test_fitting_twice_gives_equal_bytes(name, encoder, contents, tmp_path):
    encoder.save(tmp_path / "a")
    encoder_class(name).fit(list(contents)).save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nothing_saved_is_a_pickle(any_encoder, tmp_path):
    any_encoder.save(tmp_path)
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError):
            pickletools.dis(path.read_bytes(), out=io.StringIO())


def test_the_revision_follows_settings_and_content(name, encoder, contents):
    kind = encoder_class(name)
    assert kind.fit(contents, kind.settings(width=3)).revision != encoder.revision
    assert kind.fit(contents[:-1]).revision != encoder.revision
    assert kind.fit(contents).revision == encoder.revision


def test_a_vector_does_not_depend_on_its_neighbours(any_name, any_encoder, any_contents):
    contents = [b"a long one. " * 9, *any_contents] if any_name in ELSEWHERE else any_contents
    together = any_encoder.encode(contents).vectors
    alone = np.concatenate([any_encoder.encode([c]).vectors for c in contents])
    threes = np.concatenate([any_encoder.encode(contents[i : i + 3]).vectors for i in range(0, len(contents), 3)])
    if any_name in EXACT:
        assert together.tobytes() == alone.tobytes() == threes.tobytes()
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, threes, atol=1e-5)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff\xfe\xff", b" \n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"]
)
def test_odd_bytes_neither_raise_nor_warn(any_name, any_encoder, content):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = any_encoder.encode([content])
    readable = content.strip()[:3] in (b"GIF", b"\x89PN") and any_name not in EXACT
    if readable and any_encoder.modality == TEXT:  # these letters are a text to a model that knows letters
        assert found.reasons in {(None,), ("no known character",)}
    else:
        assert isinstance(found.reasons[0], str)
        assert not found.vectors.any()


def test_nothing_to_encode(any_encoder):
    assert any_encoder.encode([]).vectors.shape == (0, any_encoder.width)


def test_absent_items_are_left_out_of_the_fit(name, encoder, contents):
    with_gaps = [c for content in contents for c in (content, None)]
    assert encoder_class(name).fit(with_gaps).encode(contents).vectors == pytest.approx(
        encoder.encode(contents).vectors, abs=1e-5
    )


@pytest.mark.parametrize("nothing", [[], [None, None], [b"", b" "]])
def test_nothing_to_fit_on_is_one_sentence(name, nothing):
    noun = {TEXT: "text", PICTURE: "image"}[ENCODERS[name].modality]
    with pytest.raises(InputError, match=rf"none of the {len(nothing)} items .* encode without the {noun} features"):
        encoder_class(name).fit(nothing)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tiny_catalogues(name, contents, count):
    encoder = encoder_class(name).fit(contents[:count])
    found = encoder.encode(contents[:count])
    assert encoder.width == max(1, count - 1)
    assert np.isfinite(found.vectors).all()


def test_equal_items_only(name, contents):
    found = encoder_class(name).fit([contents[0]] * 6).encode(contents[:6])
    assert np.isfinite(found.vectors).all()
    assert found.reasons == (None,) * 6


def test_the_fit_takes_at_most_its_sample(name, contents):
    told = []
    kind = encoder_class(name)
    kind.fit(contents, kind.settings(fit_sample=7), progress=lambda *a: told.append(a))
    assert told == [(i, 7) for i in range(1, 8)]


@pytest.mark.parametrize("damage", ["arrays.safetensors", "encoder.json"])
def test_a_damaged_encoder_is_one_sentence(encoder, tmp_path, damage):
    encoder.save(tmp_path)
    data = bytearray((tmp_path / damage).read_bytes())
    data[-5] ^= 1
    (tmp_path / damage).write_bytes(data if damage.startswith("arrays") else data[:30])
    with pytest.raises(InputError, match=r"is damaged|is not valid JSON"):
        load_encoder(tmp_path)
    (tmp_path / "encoder.json").write_text(json.dumps({"name": encoder.name, "format_version": 99}))
    with pytest.raises(InputError, match="format_version 99, this version reads 1"):
        load_encoder(tmp_path)


def test_into_a_table_and_out(any_encoder, any_contents, tmp_path):
    report = encode_items([*any_contents, None], any_encoder, VectorStore(tmp_path / "s"), tmp_path / "t", batch=16)
    assert report.encoded == 40
    assert sum(report.missing.values()) == 1


THREADS = """
import sys
import numpy as np
from tests.test_features_contract import ENCODERS, encoder_class, samples
contents = samples(ENCODERS[sys.argv[1]].modality)
np.save(sys.argv[2], encoder_class(sys.argv[1]).fit(contents).encode(contents).vectors)
"""


def test_one_thread_or_two_agree_to_rounding(name, encoder, contents, tmp_path):
    for count in "12":
        told = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        subprocess.run([sys.executable, "-c", THREADS, name, tmp_path / count], cwd=ROOT, env=told, check=True)
    one, two = np.load(tmp_path / "1.npy"), np.load(tmp_path / "2.npy")
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'sklearn', 'skimage', 'scipy', 'PIL', 'torch', 'safetensors', 'transformers', 'sentence_transformers'}"
    also = "medleyrec.features.pretrained.text, medleyrec.features.pretrained.image, medleyrec.features.imported"
    code = f"import sys, medleyrec.features, {also}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
