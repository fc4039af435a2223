"""How an item's text is composed, and what TF-IDF with SVD makes of texts whose answer is known."""

import numpy as np
import pytest

from medleyrec.features import text
from medleyrec.features.text import TextFields, TfidfConfig, TfidfEncoder, item_text


def test_the_parts_of_an_items_text():
    paths = [["Hair Care", "Shampoo"], ["Gifts"]]
    assert item_text("Soft Shine", "Makes hair\n shine.", paths, "Acme") == (
        "Soft Shine\nHair Care, Shampoo\nAcme\nMakes hair shine."
    )
    assert item_text(
        "Soft Shine", "Makes hair shine.", paths, "Acme", 3.5, use=TextFields(fields=("price", "brand"))
    ) == ("3.5\nAcme")


@pytest.mark.parametrize("categories", [None, [], [[]], [[""]], [["", " "]]])
def test_absent_parts_leave_no_trace(categories):
    assert item_text("Title", None, categories, "") == "Title"
    assert item_text(None, " ", categories, None) == ""


def test_markup_is_dropped_and_comparisons_are_kept():
    assert item_text("Salt &amp; <b>Pepper</b><br/>5 < 6 > 4") == "Salt & Pepper 5 < 6 > 4"


def test_vectors_of_four_texts_worked_out_by_hand():
    """Two pairs of texts with no word in common: two orthogonal directions, whatever the weights are."""
    texts = [b"aa", b"aa", b"bb", b"bb"]
    vectors = TfidfEncoder.fit(texts, TfidfConfig(width=1)).encode(texts).vectors
    assert vectors.shape == (4, 1)
    vectors = TfidfEncoder.fit([*texts, b"cc"], TfidfConfig(width=2)).encode(texts).vectors
    np.testing.assert_allclose(vectors @ vectors.T, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], atol=1e-6)


def test_weights_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["red red shirt", "red shoe", "green shoe shoe shoe", "a hat"]
    encoder = TfidfEncoder.fit([t.encode() for t in texts])
    reference = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True).fit(texts)
    assert list(encoder.vocabulary) == reference.get_feature_names_out().tolist()
    weighted = text._weighted(text._known_counts(texts, encoder._columns), encoder.idf)
    np.testing.assert_allclose(weighted.toarray(), reference.transform(texts).toarray(), rtol=1e-6)


def test_counts_are_those_of_scikit_learn_bit_by_bit():
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [
        "Red red ﬁne shirt",
        "",
        "護手霜 red-shirt x1",
        "nothing known",
        " \n",
        "red",
        "shirt red shirt red shirt red",
    ]
    terms = ["red shirt", "red", "shirt", "shirt red", "fine", "手", "手 霜", "x1", "red red"]
    reference = CountVectorizer(
        preprocessor=text._normalised, token_pattern=text.WORD, ngram_range=(1, 2), vocabulary=terms, dtype=np.float32
    ).transform(texts)
    found = text._known_counts(texts, {term: i for i, term in enumerate(terms)})
    assert found.shape == reference.shape
    assert found.data.max() == 3
    for part in ("data", "indices", "indptr"):
        ours, theirs = getattr(found, part), getattr(reference, part)
        assert ours.tobytes() == theirs.astype(ours.dtype).tobytes()
    assert text._known_counts([""], {"red": 0}).nnz == 0


def test_the_exact_and_the_randomised_svd_span_the_same_space(monkeypatch):
    rng = np.random.default_rng(0)
    topics = [[f"t{k}w{i}" for i in range(12)] for k in range(6)]
    texts = [" ".join(rng.choice(topics[n % 6], 8)).encode() for n in range(300)]
    exact = TfidfEncoder.fit(texts, TfidfConfig(width=6)).encode(texts).vectors
    for name, value in {"EXACT": 0, "MANY": 0, "BLOCK": 64}.items():  # one after the other: randomised, then by blocks
        monkeypatch.setattr(text, name, value)
        randomised = TfidfEncoder.fit(texts, TfidfConfig(width=6)).encode(texts).vectors
        np.testing.assert_allclose(exact, randomised, atol=0.02)  # sign for sign, direction for direction


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
@pytest.mark.parametrize("limits", [{"EXACT": 1024}, {"EXACT": 0}, {"EXACT": 0, "MANY": 0, "BLOCK": 4, "SLAB": 3}])
def test_singular_vectors_are_those_of_the_svd_with_the_peak_positive(shape, limits, monkeypatch):
    from scipy.sparse import csr_matrix

    for name, value in limits.items():
        monkeypatch.setattr(text, name, value)
    rows = np.random.default_rng(0).normal(size=shape)
    found, expected = text._right_singular(csr_matrix(rows), 5, seed=0), np.linalg.svd(rows)[2][:5]
    np.testing.assert_allclose(np.abs(expected @ found), np.eye(5), atol=1e-5)
    assert (found.max(axis=0) == np.abs(found).max(axis=0)).all()


def test_word_order_and_case():
    texts = [b"night cream day", b"cream night day", b"hat shoe sock", b"NIGHT Cream DAY"]
    vectors = TfidfEncoder.fit(texts).encode(texts).vectors
    assert np.array_equal(vectors[0], vectors[3])
    assert vectors[0] @ vectors[2] < vectors[0] @ vectors[1] < 0.99


def test_scripts_without_spaces_are_cut_into_characters():
    texts = ["護手霜", "護手膏", "運動鞋", "跑步鞋"]
    encoder = TfidfEncoder.fit([t.encode() for t in texts])
    vectors = encoder.encode([t.encode() for t in texts]).vectors
    assert "護 手" in encoder.vocabulary
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_reasons():
    encoder = TfidfEncoder.fit([b"red shirt", b"blue shirt", b"green hat"])
    found = encoder.encode([b"", b" \n", b"yellow", b"shirt", b"\xff\xff"])
    assert found.reasons == ("no text", "no text", "no known word", None, "no known word")
    assert np.linalg.norm(found.vectors, axis=1).tolist() == pytest.approx([0, 0, 0, 1, 0])


def test_rare_terms_go_only_where_the_catalogue_is_large():
    few = [f"shirt number{i}".encode() for i in range(50)]
    many = [f"shirt number{i}".encode() for i in range(300)] + [b"blue hat", b"blue hat"]
    assert "number7" in TfidfEncoder.fit(few).vocabulary
    assert sorted(TfidfEncoder.fit(many).vocabulary) == ["blue", "blue hat", "hat", "shirt"]
    assert len(TfidfEncoder.fit(many, TfidfConfig(max_vocabulary=2)).vocabulary) == 2


def test_where_every_term_is_rare_all_are_kept():
    assert len(TfidfEncoder.fit([f"word{i}".encode() for i in range(250)]).vocabulary) == 250


def test_long_inputs_are_encoded_in_blocks_without_a_seam(monkeypatch):
    texts = [f"word{i % 7} word{i % 5} thing".encode() for i in range(40)]
    encoder = TfidfEncoder.fit(texts)
    whole = encoder.encode(texts)
    monkeypatch.setattr(text, "BLOCK", 7)
    parts = encoder.encode(texts)
    assert parts.vectors.tobytes() == whole.vectors.tobytes()
    assert parts.reasons == whole.reasons
