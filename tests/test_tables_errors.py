"""What does not fit gets one sentence: file, row, column, value, fix."""

import gzip
import random

import pytest

from medleyrec.schema import InputError
from tests.test_tables import HEADER, parquet, read, write


def refused(path, message, **settings):
    with pytest.raises(InputError, match=message) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item\na,b\n", r"no column for the time of the event \(timestamp\); its columns are: 'user', 'item';"),
        (
            "who,item,ts\na,b,1\n",
            r'--column user_id="who", or in the TOML under \[source\.columns\]: user_id = "who"$',
        ),
        ("1,10,964982703\n1,3,964981247\n", r"first line looks like data \('1', '10', '964982703'\): put a line"),
        (
            "session_id,customer,item,ts\na,b,c,1\n",
            "'session_id' and 'customer' could each be user_id; its columns are",
        ),
        ("user,user,item,ts\na,b,c,1\n", "two columns named 'user'; rename one"),
        (
            HEADER + "a,b,1\n,b,2\n",
            r"data row 2 \(line 3 with the header\): column 'user' is empty, but every event needs",
        ),
        (
            HEADER + "a,b,1\na,  ,2\n",
            r"data row 2 .* column 'item' is empty, but every event needs an item; fill it in",
        ),
        (
            HEADER[:-1] + ",rating\na,b,1,good\n",
            "column 'rating' is 'good', not a number; mend it, or leave the ratings",
        ),
        (HEADER[:-1] + ",rating\na,b,1,inf\n", "column 'rating' is 'inf', not a number"),
        (HEADER + "a,b,1\na,b,1,2\n", r"line 3 .*\('a,b,1,2'\) has 4 fields where the header has 3; mend"),
        (HEADER + "a,b,1\na,b\n", r"line 3 .*\('a,b'\) has 2 fields where the header has 3"),
        (HEADER + 'a,b,1\na,"b,2\n', r"line 3 .* double quote that is never closed"),
        ((HEADER + "a,é,1\n").encode("latin1"), "line 2 .* is not UTF-8 text; convert"),
        (HEADER.encode("utf16"), "is UTF-16; convert it to UTF-8"),
        ("", "is empty; it needs rows"),
        (HEADER, "a header but no rows"),
        ("\n" + HEADER, "begins with an empty line"),
    ],
)
def test_csv(tmp_path, content, message):
    path = tmp_path / "log.csv"
    refused(write(path, content), r"^log\.csv.*" + message)


def test_a_mapped_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "log.csv", "Customer No,item,ts\na,b,1\n")
    refused(path, r"no column 'costumer_no', .* did you mean 'Customer No'\?", columns={"user_id": "costumer_no"})
    refused(path, r"no column 'zzz', .* its columns are: 'Customer No', 'item', 'ts'", columns={"user_id": "zzz"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"user":"a","item":1,"ts":1}\n{"user":nul\n', r"line 2 \('{\"user\":nul'\) is not valid JSON; write one"),
        ("{'user': 'a'}\n", "line 1 .* is not valid JSON"),
        ('{"user":"a","item":1,"ts":1}\n{"user":null,"item":1,"ts":1}\n', "record 2: column 'user' is empty"),
        ('{"user":"a","item":1,"ts":1}\n{"item":1,"ts":1}\n', "record 2: column 'user' is empty"),
        ("[1, 2]\n", "JSON that is no row|no column for the user"),
    ],
)
def test_json(tmp_path, content, message):
    refused(write(tmp_path / "log.jsonl", content), r"^log\.jsonl.*" + message)


def test_a_truncated_gzip(tmp_path):
    chance = random.Random(0)
    content = HEADER + "".join(f"{chance.random()},b,{n}\n" for n in range(200_000))
    packed = gzip.compress(content.encode(), 1)
    assert len(packed) > 1 << 20, "the header must still be readable"
    refused(
        write(tmp_path / "log.csv.gz", packed[:-1000]), "log.csv.gz is damaged or incomplete; copy or download it again"
    )
    refused(write(tmp_path / "log.csv.gz", packed[:100]), "log.csv.gz is damaged or incomplete")
    refused(write(tmp_path / "log.csv.gz", HEADER), "log.csv.gz is damaged or incomplete")


def test_parquet(tmp_path):
    path = tmp_path / "log.parquet"
    refused(write(path, "hello hello hello"), r"log\.parquet is damaged or incomplete")
    refused(parquet(path, "SELECT [1] AS user, 2 AS item, 3 AS ts"), r"'user' \(INTEGER\[\]\) cannot hold ids")
    refused(
        parquet(path, "SELECT 1.5::DOUBLE AS user, 2 AS item, 3 AS ts"),
        r"row 1: column 'user' is '1\.5', which is no id",
    )
    refused(
        parquet(path, "SELECT * FROM (VALUES (1::DOUBLE, 2, 3), (NULL, 2, 3)) t(user_id, item, ts)"),
        "row 2: column 'user_id' is empty",
    )


def test_the_right_file_and_row_of_several_are_named(tmp_path):
    write(tmp_path / "a.csv", HEADER + "a,b,1\n" * 5)
    write(tmp_path / "b.csv", HEADER + "a,b,1\n,b,1\n")
    refused(tmp_path, r"^b\.csv, data row 2 ")


def test_files_that_are_not_there(tmp_path):
    refused(tmp_path / "nope.csv", r"interactions: .*nope\.csv does not exist")
    refused(write(tmp_path / "log.xlsx", "x"), r"log\.xlsx is of an unknown kind; it must end in \.csv, ")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no table in the folder")
    log = write(tmp_path / "log.csv", HEADER + "a,b,1\n")
    refused((log, log), r"names .*log\.csv twice; name each file once")
    refused((), "interactions is empty; name at least one file")
    refused(log, r"items: .*nope\.csv does not exist", items=tmp_path / "nope.csv")
    refused(log, r"images: .*nope does not exist", images=tmp_path / "nope")


@pytest.mark.parametrize("address", ["s3://bucket/log.csv", "https://example.org/log.parquet", "hf://datasets/x/y.csv"])
def test_remote_addresses_are_refused(tmp_path, address):
    message = f"^{address} is a remote address; download it first"
    log = write(tmp_path / "log.csv", HEADER + "a,b,1\n")
    refused(address, message)
    refused(log, message, items=address)
    refused(log, message, images=address)


def test_two_logs_of_one_name_in_a_folder(tmp_path):
    write(tmp_path / "interactions.csv", HEADER + "a,b,1\n")
    write(tmp_path / "interactions.tsv", HEADER)
    refused(tmp_path, r"holds interactions\.csv and interactions\.tsv; leave one")
