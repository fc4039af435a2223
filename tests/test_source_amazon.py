"""Amazon reviews of 2014, 2018 and 2023 in their exact layouts, with the oddities of each."""

import gzip
import json

import duckdb
import pytest

from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.amazon import AmazonConfig, amazon
from medleyrec.sources.literals import LINE_LIMIT, literal
from tests.test_source_assembly import events, fill, items, prepared

ALL = "user_id, item_id, timestamp, rating"
TOLD = "item_id, title, description, categories, brand, price"


def read(folder, **settings):
    return amazon(duckdb.connect(), AmazonConfig(folder=folder, **settings))


def lines(*records):
    return "".join(json.dumps(r) + "\n" for r in records)


def review_2014(user, item, time, rating=5.0):
    return {
        "reviewerID": user, "asin": item, "reviewerName": 'Ann "A"', "helpful": [0, 1], "reviewText": "Nice\n{it}",
        "overall": rating, "summary": "ok", "unixReviewTime": time, "reviewTime": "01 30, 2014",
    }  # fmt: skip


R_2014 = {
    "reviews_Beauty_5.json.gz": lines(
        review_2014("A1YJEY40YUW4SE", "7806397051", 1391040000, 1.0),
        review_2014("A60XNB876KYML", "B000052YD0", 1391040000),
        review_2014("A60XNB876KYML", "7806397051", 1391040000, 4.0),
    )
}
M_2014 = {
    "meta_Beauty.json.gz": r"{'asin': '7806397051', 'description': 'It\'s a \"brush\"\n &amp; more \d', 'brand': '', "
    "'title': u'WAW\\xe9', 'price': 3.06, 'imUrl': 'http://e.org/x.jpg', 'related': {'also_bought': ['B1', 'B2']}, "
    "'categories': [['Beauty', 'Makeup', 'Face'], ['Beauty', 'Tools & Accessories']], 'salesRank': {'Beauty': 938}}\n"
    + "{'asin': 'B000052YD0', 'price': None, 'brand': \"L'Oreal\", 'categories': [[]]}\n"
    + "{'asin': '7806397051', 'title': 'said again'}\n"
}
R_2018 = {
    "All_Beauty.json.gz": lines(
        {
            "overall": 5.0, "verified": True, "reviewTime": "09 1, 2016", "reviewerID": "A3CIUOJXQ5VDQ2",
            "asin": "B0000530HU", "style": {"Size:": " 7.0 oz"}, "reviewerName": "S", "reviewText": "As advertised",
            "summary": "Five Stars", "unixReviewTime": 1472688000, "vote": "2", "image": ["https://example.org/a.jpg"],
        },
        {"overall": 1.0, "reviewerID": "A3H7T87S984REU", "asin": "B01LEFTOUT", "unixReviewTime": 1472601600},
    )
}  # fmt: skip
M_2018 = {
    "meta_All_Beauty.json.gz": lines(
        {
            "category": ["Beauty &amp; Personal Care", "Hair", "</span></span>rest", "Loud 'N Clear"], "tech1": "",
            "description": ["Loud <style>b {c: d}</style><b>clear</b>", "", "&quot;again&quot;"], "fit": "",
            "feature": ["One", "Two"],
            "title": 'Loud 5 &lt; 6\n  <span class="x">Clear</span>', "also_buy": [], "tech2": "", "date": "",
            "brand": "\nby\n\n    ACME", "rank": "2,938,573 in Beauty (", "price": "$1,012.99", "asin": "B0000530HU",
            "imageURL": ["https://example.org/a.jpg"], "main_cat": "All Beauty", "similar_item": "",
        },
        {"category": [], "main_cat": "All Beauty", "title": "var aPageStart = (new Date()).getTime();",
         "description": [], "feature": [], "brand": "", "price": "$5.99 - $12.99", "asin": "B00JUNK"},
    )
}  # fmt: skip
R_2023 = {
    "All_Beauty.jsonl.gz": lines(
        {"rating": 5.0, "title": "Such a lovely scent", "text": "x", "images": [], "asin": "B00YQ6X8EO",
         "parent_asin": "B00YQ6X8EO", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "timestamp": 1588687728923,
         "helpful_vote": 0, "verified_purchase": True},
        {"rating": 4.0, "title": "Works", "text": "y", "images": [], "asin": "B00VARIANT",
         "parent_asin": "B00PARENT1", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "timestamp": 1588687728001,
         "helpful_vote": 1, "verified_purchase": False},
    )
}  # fmt: skip
M_2023 = {
    "meta_All_Beauty.jsonl.gz": lines(
        {"main_category": "All Beauty", "title": "Howard LC0008", "average_rating": 4.8, "rating_number": 10,
         "features": ["Leather", "Clean"], "description": [], "price": None, "videos": [], "store": "Howard Products",
         "images": [{"thumb": "https://example.org/t.jpg", "large": "https://example.org/l.jpg", "variant": "MAIN"}],
         "categories": [], "details": {"Package Dimensions": "7 x 5"}, "parent_asin": "B00YQ6X8EO",
         "bought_together": None},
        {"main_category": None, "title": None, "features": [], "description": ["One.", "Two."], "price": 24.5,
         "store": None, "categories": ["Beauty", "Nails"], "parent_asin": "B00PARENT1"},
    )
}  # fmt: skip
REVIEW = '{"user_id": "a", "parent_asin": "b", "timestamp": 1588687728001, "rating": 5}\n'


def test_the_registry_names_this_reader():
    assert SOURCES["amazon"] == f"{amazon.__module__}:{amazon.__name__}"


def test_2014(tmp_path):
    found = read(fill(tmp_path, R_2014 | M_2014))
    assert events(found, ALL) == [
        ("A1YJEY40YUW4SE", "7806397051", 1391040000, 1.0),
        ("A60XNB876KYML", "B000052YD0", 1391040000, 5.0),
        ("A60XNB876KYML", "7806397051", 1391040000, 4.0),
    ]
    paths = [["Beauty", "Makeup", "Face"], ["Beauty", "Tools & Accessories"]]
    assert items(found, TOLD) == [
        ("7806397051", "WAWé", 'It\'s a "brush" & more \\d', paths, None, 3.06),
        ("B000052YD0", None, None, None, "L'Oreal", None),
    ]
    assert "items: 1 further rows of items already seen are left out" in found.notes
    assert found.notes[0].endswith("read reviews_Beauty_5.json.gz, meta_Beauty.json.gz")


def test_2018(tmp_path):
    found = read(fill(tmp_path, R_2018 | M_2018))
    assert events(found, ALL) == [
        ("A3H7T87S984REU", "B01LEFTOUT", 1472601600, 1.0),
        ("A3CIUOJXQ5VDQ2", "B0000530HU", 1472688000, 5.0),
    ]
    path = ["Beauty & Personal Care", "Hair"]
    assert items(found, TOLD) == [
        ("B0000530HU", "Loud 5 < 6 Clear", 'Loud clear "again" One Two', [path], "ACME", 1012.99),
        ("B00JUNK", None, None, [["All Beauty"]], None, None),
    ]
    for note in (
        "meta_All_Beauty.json.gz: 1 titles are remains of a web page's program and are left out",
        "items: 1 of the log's 2 items are not in the items file",
        "price: 1 values are no single price and are left empty",
    ):
        assert note in found.notes


def test_2023_keeps_milliseconds_and_counts_products(tmp_path):
    found = read(fill(tmp_path, R_2023 | M_2023))
    user = "AGKHLEW2SOWHNMFQIJGBECAF7INQ"
    assert events(found, ALL) == [(user, "B00PARENT1", 1588687728, 4.0), (user, "B00YQ6X8EO", 1588687728, 5.0)]
    assert items(found, TOLD) == [
        ("B00PARENT1", None, "One. Two.", [["Beauty", "Nails"]], None, 24.5),
        ("B00YQ6X8EO", "Howard LC0008", "Leather Clean", [["All Beauty"]], "Howard Products", None),
    ]


def test_no_address_of_a_picture_is_kept(tmp_path):
    for n, files in enumerate((R_2014 | M_2014, R_2018 | M_2018, R_2023 | M_2023)):
        found = read(fill(tmp_path / str(n), files))
        assert all(image is None for (image,) in items(found, "image"))
        assert found.image_folder is None


def test_pictures_of_a_local_folder(tmp_path):
    found = read(fill(tmp_path, R_2023 | M_2023 | {"images/B00PARENT1.jpg": "x", "images/B00VARIANT.jpg": "x"}))
    assert items(found, "item_id, image") == [("B00PARENT1", "B00PARENT1.jpg"), ("B00YQ6X8EO", None)]


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("ratings_Beauty.csv", "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,B00A,3.0,1355443200\n", {}),
        ("Beauty.csv", "0205616461,A39HTATAQ9V7YF,5.0,1369699200\nB00A,A3JM6GV9MNOF9X,3.0,1355443200\n", {}),
        ("Beauty.csv.gz", "user_id,parent_asin,rating,timestamp\nA39HTATAQ9V7YF,0205616461,5.0,1369699200000\n"
         "A3JM6GV9MNOF9X,B00A,3.0,1355443200000\n", {}),
        ("ratings_Beauty.csv", "A39HTATAQ9V7YF,0205616461,5,1369699200\r\nA3JM6GV9MNOF9X,B00A,3,1355443200\r\n", {}),
    ],
)  # fmt: skip
def test_ratings_alone(tmp_path, name, content, settings):
    found = read(fill(tmp_path, {name: content}), **settings)
    assert events(found, ALL) == [
        ("A3JM6GV9MNOF9X", "B00A", 1355443200, 3.0),
        ("A39HTATAQ9V7YF", "0205616461", 1369699200, 5.0),
    ]


def test_who_comes_first_in_ratings_is_never_guessed_from_nothing(tmp_path):
    text = "7,9,5.0,1369699200\n"
    assert events(read(fill(tmp_path / "a", {"ratings_X.csv": text})), "user_id") == [("7",)]
    with pytest.raises(InputError, match='X.csv: whether users or items come first .* set csv_order = "user,item"'):
        read(fill(tmp_path / "b", {"X.csv": text}))
    assert events(read(tmp_path / "b", csv_order="user,item"), "user_id") == [("7",)]
    assert events(read(tmp_path / "b", csv_order="item,user"), "user_id") == [("9",)]


def test_the_ids_say_more_than_the_name(tmp_path):
    swapped = {"ratings_Beauty.csv": "0205616461,A39HTATAQ9V7YF,5.0,1369699200\n"}
    assert events(read(fill(tmp_path, swapped)), "item_id") == [("0205616461",)]


def test_several_categories_are_read_in_name_order(tmp_path):
    first = lines(review_2014("A1YJEY40YUW4SE", "B1", 5), review_2014("A1YJEY40YUW4SE", "B2", 5))
    files = {"reviews_B.json": lines(review_2014("A1YJEY40YUW4SE", "B3", 5)), "reviews_A.json": first}
    metas = {"meta_A.json": "{'asin': 'B1', 'title': 'one'}\n", "meta_B.json": '{"asin": "B3", "title": "three"}\n'}
    found = read(fill(tmp_path, files | metas))
    assert [item for (item,) in events(found, "item_id")] == ["B1", "B2", "B3"]
    assert items(found) == [("B1", "one"), ("B3", "three")]


def test_two_forms_of_one_log_are_not_added_up(tmp_path):
    two = {"Beauty.json": REVIEW, "Beauty_5.json": REVIEW}
    with pytest.raises(InputError, match=r"Beauty\.json and Beauty_5\.json, two forms of one log"):
        read(fill(tmp_path, two))
    assert len(events(read(tmp_path, interactions=tmp_path / "Beauty_5.json"))) == 1
    with pytest.raises(InputError, match="two forms of one log"):
        read(fill(tmp_path / "b", {"ratings_Beauty.csv": "a,b,1,2\n", "reviews_Beauty.json.gz": REVIEW}))


def test_generations_are_not_mixed(tmp_path):
    with pytest.raises(InputError, match="are of different generations; keep one in a folder"):
        read(fill(tmp_path, R_2014 | R_2023))


def test_metadata_may_be_named(tmp_path):
    fill(tmp_path / "else", {"items.jsonl": '{"parent_asin": "B00YQ6X8EO", "title": "T"}\n'})
    found = read(fill(tmp_path / "a", R_2023), items=tmp_path / "else" / "items.jsonl")
    assert items(found) == [("B00YQ6X8EO", "T")]


def test_broken_lines_of_a_log_are_counted_and_left_out(tmp_path):
    broken = '{"user_id": "a", "parent_asin": \nnot json\n\n'
    found = read(fill(tmp_path / "a", {"X.jsonl": REVIEW * 150 + broken + REVIEW * 60}))
    assert len(events(found)) == 210
    assert "X.jsonl: 2 of 212 lines hold no review and are left out" in found.notes
    with pytest.raises(InputError, match="X.jsonl: 2 of 4 lines hold no review; the file is damaged"):
        read(fill(tmp_path / "b", {"X.jsonl": REVIEW + broken + REVIEW}))


@pytest.mark.parametrize(
    "odd", ["{'asin': 'c', 'title': 'cut", "{'title': 'no id'}", "{'asin': 1e999}", "x" * LINE_LIMIT]
)
def test_broken_literal_lines_are_counted_and_left_out(tmp_path, odd):
    """The line that is too long does not swallow the next one."""
    text = "{'asin': 'b', 'title': 'T'}\n" + odd + "\n{'asin': 'd', 'title': 'U'}\n"
    found = read(fill(tmp_path, {"X.jsonl": REVIEW, "meta_X.json.gz": text}))
    assert items(found) == [("b", "T"), ("d", "U")]
    assert "meta_X.json.gz: 1 of 3 lines hold no item and are left out" in found.notes


def test_a_byte_order_mark_before_literals(tmp_path):
    found = read(fill(tmp_path, {"X.jsonl": REVIEW, "meta_X.json": "\ufeff{'asin': 'b', 'title': 'T'}\n"}))
    assert items(found) == [("b", "T")]


def test_literals_never_run_code(tmp_path):
    target = tmp_path / "touched"
    assert literal(f"{{'asin': open({str(target)!r}, 'w')}}".encode()) is None
    assert literal(f"{{'asin': __import__('pathlib').Path({str(target)!r}).touch()}}".encode()) is None
    assert not target.exists()


@pytest.mark.parametrize(
    "text",
    ["{'a': " + "-" * 300_000 + "1}", "{'a': " + "1+" * 300_000 + "1}", "{'a': " + "[" * 9_000 + "]" * 9_000 + "}",
     "{'a': 9**9**9}", "{'a': " + "9" * 9_000 + "}", "{'a\0': 1}", "{1: 2}", "['a']", "{'a': 1", "{'a', 'b'}"],
)  # fmt: skip
def test_hostile_literals_are_no_record(text):
    assert literal(text.encode()) is None


def test_json_of_odd_shapes(tmp_path):
    odd = lines(
        {"parent_asin": "b", "title": ["two", "parts"], "description": "one text", "categories": "one label"},
        {
            "parent_asin": "c",
            "title": {"a": 1},
            "categories": [["x", "y"], ["z"]],
            "price": "from 3.99",
            "store": ["s"],
        },
        {"parent_asin": "d", "title": " ", "categories": ["", None], "price": "None", "main_category": "<img src=x>"},
    )
    found = read(fill(tmp_path, {"X.jsonl": REVIEW, "meta_X.jsonl": odd}))
    assert items(found, TOLD) == [
        ("b", "two parts", "one text", [["one label"]], None, None),
        ("c", None, None, [["x", "y"], ["z"]], None, None),
        ("d", None, None, None, None, None),
    ]


@pytest.mark.parametrize("name", ["X.jsonl.gz", "meta_X.jsonl.gz", "meta_X.json.gz"])
def test_a_truncated_file_is_named(tmp_path, name):
    record = "{'asin': 'b', 'title': 'T'}\n" if name == "meta_X.json.gz" else '{"parent_asin": "b", "user_id": "a"}\n'
    fill(tmp_path, {"X.jsonl.gz": REVIEW})
    (tmp_path / name).write_bytes(gzip.compress(record.encode() * 9_000)[:-40])
    with pytest.raises(InputError, match=f"^{name} is damaged or incomplete"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["X.jsonl.gz", "meta_X.json.gz", "ratings_X.csv.gz"])
def test_bombs_are_refused(tmp_path, name):
    fill(tmp_path, {"Y.jsonl": REVIEW} | {name: bytes([32]) * (70 << 20)})
    with pytest.raises(InputError, match=rf"^{name} unpacks to more than \d+ MiB, over \d+ times its size"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no reviews; it needs files such as"),
        ({"meta_X.json": REVIEW}, "holds no reviews"),
        ({"X.json": ""}, "X.json is empty"),
        ({"X.json": "junk\n" * 3}, "X.json: none of its first 100 lines is a JSON object or a Python dict"),
        ({"X.json": '{"asin": "a", "title": "t"}\n'}, "its first record has the fields 'asin', 'title', but"),
        ({"X.csv": '"' + "a" * 200_000 + '",b,c,d\n'}, "X.csv must have the header"),
        ({"X.csv": "A39HTATAQ9V7YF,0205616461,5.0,1\rx\n"}, "X.csv must have the header"),
        ({"X.csv": "a,b,c\n"}, "X.csv must have the header user_id,parent_asin,rating,timestamp, or four columns"),
        ({"X.jsonl": REVIEW + REVIEW.replace("1588687728001", '"x"')}, r"^X\.jsonl, row 2: column 'timestamp' is 'x'"),
        ({"X.jsonl": REVIEW, "meta_X.json": "{'asin': 'zz'}\n"}, "no item of the log is in"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(tmp_path, files, told):
    with pytest.raises(InputError, match=told):
        read(fill(tmp_path, files))


@pytest.mark.parametrize("files", [R_2014 | M_2014, R_2018 | M_2018, R_2023 | M_2023])
def test_through_prepare(tmp_path, files):
    counts, catalogue = prepared(tmp_path / "shop", kind="amazon", folder=fill(tmp_path / "data", files))
    assert counts["events"] == files[next(iter(files))].count("\n")
    assert sum(row["title"] is not None for row in catalogue.values()) == 1
