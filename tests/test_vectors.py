"""Vectors that somebody else made: every kind of file, every check, and that they are found again."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from medleyrec.dataset import PrepareConfig, prepare
from medleyrec.dataset.cuts import SplitConfig, make_split
from medleyrec.features import open_table
from medleyrec.features.imported import Given, ImportedEncoder
from medleyrec.features.vector_files import read_ids, read_vectors
from medleyrec.recipes.encode import encoder_of, features_folder
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.vectors import run_vectors
from medleyrec.schema import InputError
from tests.worlds import circle, tables

IDS = [f"i{n:02d}" for n in range(12)]
ROWS = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


class Heard(Listener):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture
def shop(tmp_path):
    """A project of the twelve items i00 to i11."""
    prepare(tables(circle()), tmp_path / "shop" / "dataset", PrepareConfig(min_user_events=1, min_item_events=1))
    return tmp_path / "shop"


def imported(shop, file, table="text", listener=None, **options):
    return run_vectors(load_experiment(shop), file, listener or Heard(), table=table, **options)


def split_of(shop, **config):
    from medleyrec.recipes.prepare import open_dataset

    return make_split(open_dataset(shop), SplitConfig(**config))


def opened(shop, table="text", **config):
    split = split_of(shop, **config)
    vectors, present = open_table(features_folder(split) / table)
    return split.dataset, vectors, present


def saved(folder, kind, rows=ROWS, ids=IDS):
    path = folder / f"mine{kind}"
    if kind == ".npy":
        np.save(path, rows)
    elif kind == ".pt":
        torch.save(torch.from_numpy(rows), path)
    elif kind == ".safetensors":
        save_file({"embeddings": torch.from_numpy(rows.copy())}, path)
    elif kind == ".parquet":
        pq.write_table(pa.table({"item_id": ids, "vector": rows.tolist()}), path)
    return path


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", [".npy", ".pt", ".safetensors", ".parquet"])
def test_each_kind_of_file_gives_the_same_table(shop, tmp_path, kind):
    """Rows come in another order than the dataset's, which is that of the first events."""
    order = np.random.default_rng(1).permutation(12)
    file = saved(tmp_path, kind, ROWS[order], [IDS[i] for i in order])
    (tmp_path / "ids.txt").write_text("\n".join(IDS[i] for i in order) + "\n")
    report = imported(shop, file, ids=None if kind == ".parquet" else tmp_path / "ids.txt")
    dataset, vectors, present = opened(shop)
    assert (report.encoded, report.width, report.encoder) == (12, 5, "imported-mine")
    assert present[1:].all()
    for row, item in enumerate(dataset.item_ids[1:], start=1):
        np.testing.assert_allclose(vectors[row], unit(ROWS)[IDS.index(item)], atol=1e-3)


def test_parquet_of_many_columns_and_a_column_of_ids_of_its_own(shop, tmp_path):
    columns = {"asin": IDS, **{f"x{n}": ROWS[:, n] for n in range(5)}}
    pq.write_table(pa.table(columns), tmp_path / "wide.parquet")
    assert imported(shop, tmp_path / "wide.parquet", "image", id_column="asin").width == 5
    dataset, vectors, _ = opened(shop, "image")
    np.testing.assert_allclose(vectors[dataset.item_rows["i03"]], unit(ROWS)[3], atol=1e-3)
    with pytest.raises(InputError, match=r"no column 'item_id' \(there are: asin, x0, .*\); give --id-column"):
        imported(shop, tmp_path / "wide.parquet")


def test_a_dictionary_of_ids_and_a_tensor(tmp_path):
    torch.save({"item_ids": IDS, "vectors": torch.from_numpy(ROWS).bfloat16()}, tmp_path / "a.pt")
    vectors, ids = read_vectors(tmp_path / "a.pt")
    assert ids == IDS
    assert vectors.dtype == np.float32


def test_one_of_several_tensors_is_chosen_by_name(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(2, 4), "bias": torch.ones(4)}, tmp_path / "two.safetensors")
    with pytest.raises(InputError, match=r"holds 2 tables of vectors \(a, b\); choose one with --key"):
        read_vectors(tmp_path / "two.safetensors")
    assert read_vectors(tmp_path / "two.safetensors", key="b")[0].shape == (2, 4)
    with pytest.raises(InputError, match=r"no vectors named 'c' \(there are: a, b\)"):
        read_vectors(tmp_path / "two.safetensors", key="c")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids.txt", "7\nb c\n"),
        ("ids.json", '[7, "b c"]'),
        ("ids.csv", "7\nb c\n"),
        ("named.csv", "rank,item_id\n1,7\n2,b c\n"),
        ("named.tsv", "item_id\trank\n7\t1\nb c\t2\n"),
    ],
)
def test_files_of_ids(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_ids(tmp_path / name) == ["7", "b c"]


def test_files_of_ids_that_do_not_fit(tmp_path):
    (tmp_path / "a.csv").write_text("sku,rank\n7,1\n")
    with pytest.raises(InputError, match=r"has no column 'item_id' \(there are: sku, rank\); give --id-column"):
        read_ids(tmp_path / "a.csv")
    assert read_ids(tmp_path / "a.csv", "sku") == ["7"]
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="is not a JSON list of ids"):
        read_ids(tmp_path / "a.json")


def test_files_of_ids_that_are_damaged(tmp_path):
    (tmp_path / "long.csv").write_text("item_id,rank\n" + "x" * 200_000 + ",1\n")
    with pytest.raises(InputError, match=r"long\.csv is not valid CSV \(field larger than"):
        read_ids(tmp_path / "long.csv")
    (tmp_path / "long.json").write_text(f"[{'9' * 5000}]")
    with pytest.raises(InputError, match=r"long\.json is not valid JSON"):
        read_ids(tmp_path / "long.json")
    (tmp_path / "IDS.TSV").write_text("item_id\trank\n7\t1\n")
    assert read_ids(tmp_path / "IDS.TSV") == ["7"]


def test_other_columns_of_a_parquet_are_not_read(tmp_path, monkeypatch):
    rows = {"item_id": ["a", "b"], "vector": [[1.0], [2.0]], "picture": [b"x" * 1000] * 2}
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    read, asked = pq.ParquetFile.read, []
    monkeypatch.setattr(pq.ParquetFile, "read", lambda self, **more: asked.append(more) or read(self, **more))
    assert read_vectors(tmp_path / "v.parquet")[0].tolist() == [[1], [2]]
    assert asked == [{"columns": ["item_id", "vector"]}]


def test_the_named_ids_are_taken_or_none(tmp_path):
    torch.save({"item_ids": IDS, "vectors": torch.from_numpy(ROWS)}, tmp_path / "a.pt")
    assert read_vectors(tmp_path / "a.pt", id_column="sku")[1] is None


# --- checks


def test_rows_without_ids_are_refused_unless_they_are_said_to_be_in_order(shop, tmp_path):
    file = saved(tmp_path, ".npy")
    with pytest.raises(InputError, match="does not say which items its rows belong to; give --ids FILE"):
        imported(shop, file)
    imported(shop, file, in_order=True)
    _, vectors, _ = opened(shop)
    np.testing.assert_allclose(vectors[1:], unit(ROWS), atol=1e-3)
    np.save(tmp_path / "padded.npy", np.concatenate([np.zeros((1, 5), np.float32), ROWS]))
    with pytest.raises(InputError, match="has 13 rows and the dataset 12 items: .*; leave the padding row out"):
        imported(shop, tmp_path / "padded.npy", in_order=True)
    with pytest.raises(InputError, match="names the items already; leave --in-order out"):
        imported(shop, saved(tmp_path, ".parquet"), in_order=True)


@pytest.mark.parametrize(
    ("rows", "ids", "sentence"),
    [
        (ROWS, IDS[:-1], "there are 12 vectors and 11 ids; give one id for each vector"),
        (ROWS, [*IDS[:-1], "i03"], "the id 'i03' is there twice, in rows 4 and 12; leave one of them out"),
        (np.where(ROWS[4, 2] == ROWS, np.nan, ROWS), IDS, r"item 'i04' \(row 5\) holds nan at place 3; mend it"),
        (np.where(ROWS[7, 0] == ROWS, -np.inf, ROWS), IDS, r"item 'i07' \(row 8\) holds -inf at place 1"),
        (ROWS, [*IDS[:-1], ""], "the id in row 12 is empty; fill it in or leave the row out"),
        (ROWS, [*IDS[:-1], "\ud800"], r"the id '\\ud800' in row 12 is no valid Unicode"),
        (ROWS[:, 0], IDS, r"the shape \(12,\); a table of \(items, numbers\) is needed"),
        (ROWS[:, :0], IDS, r"the shape \(12, 0\); 1 to 65,536 numbers per item are needed"),
        (np.full((12, 2), "x"), IDS, "of type <U1; floating point or whole numbers are needed"),
    ],
)
def test_what_is_wrong_is_one_sentence(rows, ids, sentence):
    with pytest.raises(InputError, match=sentence):
        Given(ids, rows)


def test_lists_of_unequal_length_name_the_item(tmp_path):
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "v": [[1.0, 2], [3], [4, 5]]}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"the vector of item 'b' \(row 2\) has 1 numbers, that of the first row 2"):
        read_vectors(tmp_path / "v.parquet")


def test_absent_numbers_and_lists_are_named(tmp_path):
    pq.write_table(pa.table({"item_id": ["a", "b"], "v": [[1.0, 2], [3, None]]}), tmp_path / "v.parquet")
    vectors, ids = read_vectors(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"item 'b' \(row 2\) holds nan at place 2"):
        Given(ids, vectors)
    pq.write_table(pa.table({"item_id": ["a", "b"], "v": [[1.0, 2], None]}), tmp_path / "n.parquet")
    with pytest.raises(InputError, match=r"item 'b' \(row 2\) has 0 numbers"):
        read_vectors(tmp_path / "n.parquet")


def test_numbers_that_float32_cannot_hold(tmp_path):
    for rows in ([[2**60 + 1, 3], [1, 2]], [[1e300, 1e300], [0.5, 1e-300]]):
        pq.write_table(pa.table({"item_id": ["a", "b"], "v": rows}), tmp_path / "v.parquet")
        vectors, ids = read_vectors(tmp_path / "v.parquet")
        encoder = ImportedEncoder.of("mine", Given(ids, vectors))
        np.testing.assert_allclose(encoder.vectors, unit(np.array(rows) / np.max(rows, 1, keepdims=True)), atol=1e-3)


def test_ids_beside_a_tensor_that_are_no_list(tmp_path):
    torch.save({"item_ids": 5, "v": torch.ones(2, 3)}, tmp_path / "v.pt")
    with pytest.raises(InputError, match="the ids beside the vectors are '5', not a list; save one id for each vector"):
        read_vectors(tmp_path / "v.pt")


def test_unknown_and_missing_and_zero_rows_are_told(shop, tmp_path):
    rows = ROWS.copy()
    rows[2] = 0
    ids = [*IDS[:10], "new1", "new2"]
    heard = Heard()
    report = imported(shop, saved(tmp_path, ".parquet", rows, ids), listener=heard)
    assert report.missing == {"all numbers are zero": 1, "no vector": 2}
    assert heard.said[0].startswith("2 of 12 ids are no items of this dataset, such as 'new1', 'new2'")
    assert "2 of 12 items have no vector in mine, such as 'i10', 'i11'." in heard.said
    assert "1 of 12 items have nothing but zeros in mine, such as 'i02'." in heard.said
    dataset, vectors, present = opened(shop)
    assert sorted(dataset.item_ids[row] for row in np.flatnonzero(~present)[1:]) == ["i02", "i10", "i11"]
    assert not vectors[~present].any()


def test_ids_of_another_shop_are_an_error(shop, tmp_path):
    with pytest.raises(InputError, match=r"none of the 12 ids of .*such as 'x0', .*\) is an item of this dataset"):
        imported(shop, saved(tmp_path, ".parquet", ids=[f"x{n}" for n in range(12)]))


def test_very_large_and_small_numbers_keep_their_direction():
    rows = np.array([[3e30, 4e30], [3e-30, 4e-30]])
    vectors = ImportedEncoder.of("far", Given(["a", "b"], rows)).encode([b"a", b"b"]).vectors
    np.testing.assert_allclose(vectors, [[0.6, 0.8]] * 2, atol=1e-3)


def test_objects_are_never_read(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"o\.npy cannot be read"):
        read_vectors(tmp_path / "o.npy")
    with (tmp_path / "z.npy").open("wb") as file:
        np.savez(file, a=np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"z\.npy holds several arrays"):
        read_vectors(tmp_path / "z.npy")
    torch.save({"vectors": torch.zeros(2, 2), "made by": slice(1)}, tmp_path / "o.pt")
    with pytest.raises(InputError, match="holds more than tensors, or is damaged; objects are never read"):
        read_vectors(tmp_path / "o.pt")
    (tmp_path / "o.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"is of no known kind; vectors are read from \.npy"):
        read_vectors(tmp_path / "o.csv")
    with pytest.raises(InputError, match="does not exist"):
        read_vectors(tmp_path / "none.npy")


@pytest.mark.parametrize("kind", [".npy", ".safetensors", ".parquet", ".pt"])
def test_a_cut_file_is_one_sentence(tmp_path, kind):
    path = saved(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=f"mine{kind} (cannot be read|holds more than tensors, or is damaged)"):
        read_vectors(path)


def test_names_that_cannot_name_a_folder(shop, tmp_path):
    with pytest.raises(InputError, match=r"'../x' cannot name vectors"):
        imported(shop, saved(tmp_path, ".parquet"), name="../x")
    with pytest.raises(InputError, match="--as sound is no table of vectors; there are: text, image, described_image"):
        imported(shop, saved(tmp_path, ".parquet"), "sound")


# --- found again


def test_another_split_finds_them_by_name(shop, tmp_path):
    imported(shop, saved(tmp_path, ".parquet"), name="mymodel")
    command = [sys.executable, "-m", "medleyrec.cli", "encode", str(shop), "--split", "time"]
    done = subprocess.run([*command, "--text", "imported:mymodel", "--image", "none"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, first, _ = opened(shop)
    _, second, _ = opened(shop, kind="time")
    assert second.tobytes() == first.tobytes()
    again = subprocess.run([*command, "--text", "imported:other"], capture_output=True, text=True)
    assert again.returncode == 2
    assert "no vectors named 'other' were imported as text; import them with `medley vectors" in again.stderr


def test_a_dataset_prepared_anew_finds_them(shop, tmp_path):
    from medleyrec.recipes.project import Project

    imported(shop, saved(tmp_path, ".parquet", ids=[*IDS[:11], "z99"]), name="mymodel")
    events = [(u, i if i != "i11" else "z99", t) for u, i, t in circle()]
    prepare(tables(events, fingerprint="2"), shop / "dataset", PrepareConfig(min_user_events=1, min_item_events=1))
    Project(shop).encode(text="imported:mymodel", image="none")
    dataset, vectors, present = opened(shop)
    assert present[1:].all()
    np.testing.assert_allclose(vectors[dataset.item_rows["z99"]], unit(ROWS)[11], atol=1e-3)


def test_the_encoder_of_the_table_is_kept(shop, tmp_path):
    report = imported(shop, saved(tmp_path, ".parquet"), "described_both", name="mymodel")
    encoder = encoder_of(shop, split_of(shop), "described_both")
    assert encoder.revision == report.revision
    found = encoder.encode([b"i03", b"unheard of"])
    assert found.reasons == (None, "no vector")
    manifest = json.loads((features_folder(split_of(shop)) / "described_both" / "manifest.json").read_text())
    assert manifest["origin"] == {"imported": "mymodel", "count": 12}


def test_the_same_again_does_nothing_and_other_vectors_replace(shop, tmp_path):
    imported(shop, saved(tmp_path, ".parquet"))
    assert imported(shop, saved(tmp_path, ".parquet")).unchanged
    heard = Heard()
    imported(shop, saved(tmp_path, ".parquet", -ROWS), listener=heard)
    again = (
        "text is made anew by imported-mine, with other settings, weights or vectors than before: runs trained on the"
    )
    assert heard.said[0].startswith(again)
    dataset, vectors, _ = opened(shop)
    np.testing.assert_allclose(vectors[dataset.item_rows["i00"]], -unit(ROWS)[0], atol=1e-3)
