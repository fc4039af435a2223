"""MovieLens folders: 100k, 1m, 10m, and the CSV sets from 20m on, in their exact layouts."""

import duckdb
import pytest

from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.movielens import movielens
from tests.test_source_assembly import events, fill, items, ml, prepared

GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def film(number, title, *genres, released="24-Jan-1997"):
    """A line of u.item: a video release date is never given, an address often is."""
    flags = "|".join(str(int(g in genres)) for g in GENRES)
    return f"{number}|{title}|{released}||http://us.imdb.com/M/title-exact?{number}|{flags}\n"


ML_100K = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t51\t1\t881250949\n",
    "u.item": (
        film(242, 'Kolya, "El" niño (1996)', "Comedy") + film(302, "L.A. Confidential (1997)", "Crime", "Film-Noir")
        + film(267, "unknown", "unknown", released="")
    ).encode("latin-1"),
    "u.genre": "".join(f"{g}|{n}\n" for n, g in enumerate(GENRES)) + "\n",
    "u.user": "196|24|M|technician|85711\n",
    "u1.base": "1\t1\t5\t874965758\n",
}  # fmt: skip
ML_1M = {
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "movies.dat": "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n661::Misérables, Les (1995)::Drama|Musical\n",
    "users.dat": "1::F::1::10::48067\n",
}
CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,11,0.5,964981247\r\n"
    "2,1,3.5,964982224\r\n",
    "movies.csv": "\ufeffmovieId,title,genres\r\n1,Toy Story (1995),Adventure|Children|Comedy\r\n"
    '11,"American President, The ""TAP"" (1995)",(no genres listed)\r\n',
    "tags.csv": "userId,movieId,tag,timestamp\n2,1,fun,1445714994\n3,1,Pixar,1445714996\n4,1, PIXAR,5\n"
    "5,99,lost,5\n6,1,,7\n",
    "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n",
}


def test_the_registry_names_this_reader():
    assert SOURCES["movielens"] == f"{movielens.__module__}:{movielens.__name__}"


def test_100k(tmp_path):
    found = ml(fill(tmp_path, ML_100K))
    assert events(found, "user_id, item_id, timestamp, rating") == [
        ("196", "242", 881250949, 3.0),
        ("196", "51", 881250949, 1.0),
        ("186", "302", 891717742, 3.0),
    ]
    assert items(found, "item_id, title, categories, description, image") == [
        ("242", 'Kolya, "El" niño (1996)', [["Comedy"]], None, None),
        ("267", None, None, None, None),
        ("302", "L.A. Confidential (1997)", [["Crime", "Film-Noir"]], None, None),
    ]
    assert "items: 1 of the log's 3 items are not in the items file" in found.notes
    assert found.notes[0].endswith("read u.data, u.item")


def test_100k_converted_to_utf8(tmp_path):
    converted = ML_100K | {"u.item": ML_100K["u.item"].decode("latin-1")}
    assert items(ml(fill(tmp_path, converted)))[0] == ("242", 'Kolya, "El" niño (1996)')


def test_100k_names_its_genres_in_another_file(tmp_path):
    renamed = ML_100K | {"u.genre": ML_100K["u.genre"].replace("Comedy", "Komödie").encode("latin-1")}
    assert items(ml(fill(tmp_path / "a", renamed)), "categories")[0] == ([["Komödie"]],)
    without = {k: v for k, v in ML_100K.items() if k != "u.genre"}
    assert items(ml(fill(tmp_path / "b", without)), "categories")[0] == ([["Comedy"]],)
    with pytest.raises(InputError, match="u.genre must hold lines such as"):
        ml(fill(tmp_path / "c", ML_100K | {"u.genre": "Comedy|five\n"}))


def test_events_of_the_same_second_keep_their_order(tmp_path):
    """Rows of several readers' buffers, all at once."""
    many = "".join(f"7\t{n}\t3\t881250949\n" for n in range(60_000, 0, -1))
    found = ml(fill(tmp_path, {"u.data": many}))
    assert [int(item) for (item,) in events(found, "item_id")] == list(range(60_000, 0, -1))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_1m_and_10m(tmp_path, encoding):
    """Up to 1m titles are Latin-1, in 10m they are UTF-8, with half stars."""
    files = ML_1M | {"movies.dat": ML_1M["movies.dat"].encode(encoding)}
    found = ml(fill(tmp_path, files))
    assert events(found) == [("2", "1193", 978298413), ("1", "1193", 978300760), ("1", "661", 978302109)]
    assert items(found, "item_id, title, categories") == [
        ("1193", "One Flew Over the Cuckoo's Nest (1975)", [["Drama"]]),
        ("661", "Misérables, Les (1995)", [["Drama", "Musical"]]),
    ]


def test_csv_sets(tmp_path):
    found = ml(fill(tmp_path, CSV))
    assert events(found, "user_id, item_id, timestamp, rating") == [
        ("1", "11", 964981247, 0.5),
        ("2", "1", 964982224, 3.5),
        ("1", "1", 964982703, 4.0),
    ]
    assert items(found, "item_id, title, categories, description") == [
        ("1", "Toy Story (1995)", [["Adventure", "Children", "Comedy"]], None),
        ("11", 'American President, The "TAP" (1995)', None, None),
    ]


@pytest.mark.parametrize("generation", ["csv", "dat"])
def test_tags_become_the_description_only_when_asked(tmp_path, generation):
    files = CSV if generation == "csv" else ML_1M | {"tags.dat": "1::661::sad::5\n2::661::Epic::6\n3::661::epic::7\n"}
    found = ml(fill(tmp_path, files), tags=True)
    expected = {"csv": [("pixar, fun",), (None,)], "dat": [(None,), ("epic, sad",)]}
    assert items(found, "description") == expected[generation]
    assert any("younger than the events to be predicted" in note for note in found.notes)
    assert all(description is None for (description,) in items(ml(tmp_path), "description"))


def test_tags_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="tags = true needs another MovieLens set"):
        ml(fill(tmp_path / "a", ML_100K), tags=True)
    with pytest.raises(InputError, match="tags = true needs movies.dat and tags.dat; set tags = false"):
        ml(fill(tmp_path / "b", ML_1M), tags=True)


def test_the_log_alone_is_enough(tmp_path):
    found = ml(fill(tmp_path, {"ratings.dat": ML_1M["ratings.dat"]}))
    assert items(found) == [("1193", None), ("661", None)]


def test_posters_in_a_folder_or_in_a_table(tmp_path):
    folder = fill(tmp_path / "ml", CSV | {"posters/1.jpg": b"jpeg", "posters/99.jpg": b"x"})
    assert items(ml(folder), "item_id, image") == [("1", "1.jpg"), ("11", None)]
    table = tmp_path / "posters.parquet"
    duckdb.execute(f"COPY (SELECT 11 AS movieId, encode('jpeg') AS bytes) TO '{table}' (FORMAT parquet)")
    found = ml(folder, images=table)
    assert found.images.fetchall() == [("11", b"jpeg")]
    assert found.image_folder is None


def test_a_film_listed_twice_counts_once(tmp_path):
    twice = CSV | {"movies.csv": CSV["movies.csv"] + "1,Second,Drama\r\n"}
    assert items(ml(fill(tmp_path, twice), tags=True))[0] == ("1", "Toy Story (1995)")


def test_a_folder_of_another_kind(tmp_path):
    fill(tmp_path / "data" / "ml-1m", ML_1M)
    with pytest.raises(InputError, match=r"holds none of u.data, ratings.dat, ratings.csv; did you mean .*ml-1m\?"):
        ml(tmp_path / "data")
    with pytest.raises(InputError, match="unpack a MovieLens archive"):
        ml(fill(tmp_path / "empty", {}))
    with pytest.raises(InputError, match="holds u.data and ratings.dat; keep one data set in a folder"):
        ml(fill(tmp_path / "both", ML_100K | ML_1M))


def test_a_catalogue_with_other_columns(tmp_path):
    with pytest.raises(InputError, match="movies.csv has no column 'genres'"):
        ml(fill(tmp_path, CSV | {"movies.csv": "movieId,title\n1,Toy Story\n"}))


def test_a_damaged_row_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"^movies\.dat, line 2 \('661::B'\) has 2 fields instead of 3; mend that line$"
    ):
        ml(fill(tmp_path, ML_1M | {"movies.dat": "1193::A::Drama\n661::B\n"}))


@pytest.mark.parametrize("files", [ML_100K, ML_1M, CSV])
def test_through_prepare(tmp_path, files):
    counts, catalogue = prepared(tmp_path / "shop", kind="movielens", folder=fill(tmp_path / "ml", files))
    assert (counts["users"], counts["events"]) == (2, 3)
    assert sum(row["title"] is not None for row in catalogue.values()) == 2
