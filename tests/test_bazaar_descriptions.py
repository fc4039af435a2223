"""The bazaar's coarse views: true, of a stream of their own, and losing what they say they lose."""

import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import medleyrec as medley
from medleyrec.schema import DESCRIBED_BOTH, DESCRIBED_IMAGE, DESCRIBED_TEXT, DESCRIPTIONS
from medleyrec.sources.bazaar import BazaarConfig, descriptions, write_descriptions
from medleyrec.sources.bazaar.catalogue import cards, catalogue
from medleyrec.sources.bazaar.descriptions import LOST
from medleyrec.sources.bazaar.grammar import CATEGORIES, COLOURS, MATERIALS, READ, SEEN, SHAPES, SIZE, STYLES, SYNONYMS
from medleyrec.sources.bazaar.settings import Stream

SHOP = BazaarConfig(items=2_592, users=1, seed=5)
TWIN = SHOP.model_copy(update={"noise": True})
CHANCE = 1 / SIZE


def views_of(config):
    """View -> the text of every item."""
    table = descriptions(config)
    rows = table.to_pylist()
    return {view: [row["text"] for row in rows if row["view"] == view] for view in DESCRIPTIONS}


@pytest.fixture(scope="module")
def goods():
    return catalogue(SHOP)


@pytest.fixture(scope="module")
def views():
    return views_of(SHOP)


@pytest.fixture(scope="module")
def original(goods):
    return [f"{card.title} {card.description}" for card in cards(SHOP, goods)]


def read_off(texts, values, rows=None):
    """Share of held-out texts whose attribute a linear probe tells; every other text teaches it."""
    rows = np.arange(len(texts)) if rows is None else rows
    vectors = TfidfVectorizer().fit_transform([texts[row] for row in rows])
    probe = LogisticRegression(C=10.0).fit(vectors[::2], values[rows[::2]])
    return float((probe.predict(vectors[1::2]) == values[rows[1::2]]).mean())


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def kinds(goods, wanted):
    """Rows of the items whose categories' summaries lose `wanted` (None: nothing)."""
    lost = np.array([LOST.get(c.name, "") for c in CATEGORIES])[goods.category]
    return np.flatnonzero(lost == (wanted or ""))


def test_every_item_has_the_three_views_in_order():
    table = descriptions(SHOP)
    assert table.column_names == ["item_id", "view", "text"]
    assert table["view"].to_pylist() == list(DESCRIPTIONS) * SHOP.items
    assert table["item_id"].to_pylist()[::3] == catalogue(SHOP).ids
    assert all(text.endswith(".") and len(text) > 10 for text in table["text"].to_pylist())


def test_equal_settings_give_equal_bytes_and_another_seed_other_words(tmp_path, views):
    for name in ("a", "b"):
        write_descriptions(SHOP, tmp_path / f"{name}.parquet")
    one, other = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("a", "b"))
    assert one == other
    assert pq.read_table(tmp_path / "a.parquet").equals(descriptions(SHOP))
    assert views_of(SHOP.model_copy(update={"seed": 6})) != views


def test_a_description_depends_on_its_item_alone(views):
    """The number of users and the log's law move no word."""
    assert views_of(SHOP.model_copy(update={"users": 7, "follow": 0.5, "advance": 1})) == views


@pytest.mark.parametrize("name", SEEN)
def test_the_picture_is_told_whole(goods, views, name):
    assert read_off(views[DESCRIBED_IMAGE], goods.attributes[name]) > 0.99
    assert read_off(views[DESCRIBED_BOTH], goods.attributes[name]) > 0.99


@pytest.mark.parametrize("name", READ)
def test_the_picture_tells_nothing_of_the_text(goods, views, name):
    assert read_off(views[DESCRIBED_IMAGE], goods.attributes[name]) < CHANCE + 0.05
    spoken = set().union(*map(words, views[DESCRIBED_IMAGE]))
    nouns = {noun for category in CATEGORIES for noun in category.nouns}
    assert not spoken & {*MATERIALS, *STYLES, *nouns}
    assert not spoken & {word for synonyms in SYNONYMS[name] for word in synonyms}


@pytest.mark.parametrize("name", SEEN)
def test_the_text_tells_nothing_of_the_picture(goods, views, name):
    assert read_off(views[DESCRIBED_TEXT], goods.attributes[name]) < CHANCE + 0.05
    assert not set().union(*map(words, views[DESCRIBED_TEXT])) & {*COLOURS, *SHAPES}


@pytest.mark.parametrize("name", READ)
def test_titles_tell_more_than_summaries_in_all(goods, views, original, name):
    fine, coarse = (read_off(texts, goods.attributes[name]) for texts in (original, views[DESCRIBED_TEXT]))
    assert fine > coarse + 0.1


@pytest.mark.parametrize("name", READ)
def test_what_a_category_loses_its_titles_still_tell(goods, views, original, name):
    values, rows = goods.attributes[name], kinds(goods, name)
    for view in (DESCRIBED_TEXT, DESCRIBED_BOTH):
        assert read_off(views[view], values, rows) < CHANCE + 0.06
    assert read_off(original, values, rows) > 0.7


@pytest.mark.parametrize("name", READ)
def test_elsewhere_a_summary_tells_it_where_the_text_does(goods, views, original, name):
    values = goods.attributes[name]
    lost = set(kinds(goods, name).tolist())
    for row, (text, summary) in enumerate(zip(original, views[DESCRIBED_TEXT], strict=True)):
        named = not words(text).isdisjoint(SYNONYMS[name][values[row]]) and row not in lost
        told = words(summary) & set({"material": MATERIALS, "style": STYLES}[name])
        assert told == ({{"material": MATERIALS, "style": STYLES}[name][values[row]]} if named else set()), summary
    assert read_off(views[DESCRIBED_TEXT], values, kinds(goods, None)) > 0.95


def test_a_third_of_the_items_loses_each(goods):
    assert set(LOST) < {category.name for category in CATEGORIES}
    for wanted in (*READ, None):
        assert len(kinds(goods, wanted)) == SHOP.items / 3
        assert len({CATEGORIES[c].driver for c in goods.category[kinds(goods, wanted)]}) == 4, "of every driver"


def test_words_vary(views):
    assert len({re.sub(r"\b(\w+)\b", "", text) for text in views[DESCRIBED_IMAGE]}) > 3, "sentence forms"
    assert len(set().union(*map(words, views[DESCRIBED_IMAGE]))) > 45


def test_an_item_of_the_noise_twin_has_the_words_of_its_content(views):
    theirs, content = views_of(TWIN), catalogue(TWIN).content
    for view in DESCRIPTIONS:
        assert theirs[view] == [views[view][row] for row in content]
    assert (content != np.arange(len(content))).mean() > 0.9


def test_a_new_stream_shifts_no_old_one():
    """Log, texts and pictures of equal settings stay equal to the bit."""
    assert [stream.value for stream in Stream] == list(range(1, 12))
    assert (Stream.ATTRIBUTES, Stream.TWIN_CONTENTS, Stream.VIEWS) == (1, 10, 11)


def test_a_prepared_bazaar_has_its_descriptions_beside_the_truth(tmp_path):
    shop, options = medley.Project(tmp_path / "shop"), {"min_item_events": 1}
    shop.prepare(kind="bazaar", users=30, items=864, prepare=options)
    made = shop.folder / "described.parquet"
    assert pq.read_table(made).equals(descriptions(BazaarConfig(users=30, items=864)))
    made.unlink()
    shop.prepare(kind="bazaar", users=30, items=864, prepare=options)
    assert made.exists(), "a project of before there were descriptions gets them"
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"u,{i},{i}\n" for i in range(9)))
    shop.prepare(tmp_path / "log.csv", prepare={"min_user_events": 1, "min_item_events": 1})
    assert not made.exists(), "they were another dataset's"
    made.write_bytes(b"mine")
    shop.prepare(tmp_path / "log.csv", prepare={"min_user_events": 1, "min_item_events": 1})
    assert made.read_bytes() == b"mine", "a file that no bazaar left is the user's own"
