"""MovieLens folders as GroupLens publishes them, recognised by their files.

u.data (100k), ratings.dat (1m, 10m), ratings.csv (20m, 25m, 32m, latest, latest-small); beside them u.item, movies.dat
or movies.csv. Titles of the first two are Latin-1. Pictures, if any, are `<movieId>.jpg` in a folder, or a table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb

from medleyrec.config import Config
from medleyrec.schema import CATEGORIES, DESCRIPTION, ITEM, RATING, TIME, TITLE, USER, CanonicalTables, InputError
from medleyrec.sources import sql
from medleyrec.sources.assembly import Parts, assembled, existing_folder, pictures_of
from medleyrec.sources.columns import listed_columns
from medleyrec.sources.faults import printable_faults
from medleyrec.sources.files import open_file
from medleyrec.sources.staging import Staging, is_utf8, text_scan

_LOG = ("userId", "movieId", "rating", "timestamp")
_COLUMNS = {USER: "userId", ITEM: "movieId", RATING: "rating", TIME: "timestamp"}
_ITEM_COLUMNS = {ITEM: "movieId", TITLE: "title", CATEGORIES: "genres"}
_NO_GENRE = ("(no genres listed)", "unknown", "")
_GENRES_100K = (
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


class MovielensConfig(Config):
    """One unpacked MovieLens folder."""

    folder: Path
    images: Path | None = None
    """Posters: a folder of <movieId>.jpg, or a Parquet table (item_id, bytes); by default a subfolder with pictures."""
    tags: bool = False
    """Use what users tagged a film with as its description. Tags carry times, and later ones are used too."""


class Layout(NamedTuple):
    """The names of one generation's files, and SQL of (movieId, title, genres VARCHAR[]) from its catalogue."""

    log: str
    items: str
    tags: str | None
    catalogue: Callable[[duckdb.DuckDBPyConnection, Path], str]
    delimiter: str | None
    """Of the log; None: a CSV file with a header, read as it is."""


@printable_faults()
def movielens(connection: duckdb.DuckDBPyConnection, config: MovielensConfig) -> CanonicalTables:
    """Raises InputError where the folder is no MovieLens folder or a row cannot be used."""
    sql.shut_network(connection)
    layout = _recognised(existing_folder(config.folder))
    staging = Staging(connection)
    log, items, tags = (config.folder / name if name else None for name in (layout.log, layout.items, layout.tags))
    assert log is not None
    assert items is not None
    if config.tags and (tags is None or not (items.is_file() and tags.is_file())):
        needed = f"{layout.items} and {layout.tags}" if layout.tags else "another MovieLens set, this one has no tags"
        raise InputError(f"{config.folder}: tags = true needs {needed}; set tags = false")
    tagged = tags if config.tags else None
    listed = (items,) if items.is_file() else ()
    parts = Parts(
        log=(_staged_log(staging, log, layout),),
        columns=_COLUMNS,
        originals=(log, *listed, *((tagged,) if tagged else ())),
        items=tuple(_staged_items(staging, path, layout, tagged) for path in listed),
        item_columns=_ITEM_COLUMNS | ({DESCRIPTION: "tags"} if tagged else {}),
        images=pictures_of(config.folder, config.images),
        notes=(f"folder {config.folder.name}: read {', '.join(p.name for p in (log, *listed))}", *_tag_note(tagged)),
    )
    return assembled(staging, parts, kind="movielens", settings=config)


def _recognised(folder: Path) -> Layout:
    found = [layout for layout in LAYOUTS if (folder / layout.log).is_file()]
    if len(found) == 1:
        return found[0]
    names = [layout.log for layout in found or LAYOUTS]
    if found:
        raise InputError(f"{folder} holds {' and '.join(names)}; keep one data set in a folder")
    inner = next((p for p in sorted(folder.iterdir()) if p.is_dir() and any((p / n).is_file() for n in names)), None)
    hint = f"did you mean {inner}?" if inner else "unpack a MovieLens archive and name its folder"
    raise InputError(f"{folder} holds none of {', '.join(names)}; {hint}")


def _staged_log(staging: Staging, path: Path, layout: Layout) -> Path:
    if layout.delimiter is None:
        return path
    return staging.write(path, f"SELECT * FROM {text_scan(path, _LOG, delimiter=layout.delimiter)}")


def _staged_items(staging: Staging, path: Path, layout: Layout, tags: Path | None) -> Path:
    query = layout.catalogue(staging.connection, path)
    if tags is not None:
        numbered = f"SELECT *, row_number() OVER () AS row FROM ({query})"
        words = _tag_words(staging.connection, tags)
        query = (
            f"SELECT i.* EXCLUDE (row), t.tags FROM ({numbered}) i LEFT JOIN ({words}) t USING (movieId) ORDER BY i.row"
        )
    return staging.write(path, query)


def _no_genres(labels: str) -> str:
    none = ", ".join(map(sql.text, _NO_GENRE))
    return f"list_filter({labels}, lambda g: trim(g) NOT IN ({none}))"


def _from_item(_connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """u.item: id|title|release date|video release date|address|one flag per genre."""
    genres = _genres(path.with_name("u.genre"))
    flags = [f"g{n}" for n in range(len(genres))]
    columns = ("movieId", "title", "released", "video", "address", *flags)
    scan = text_scan(path, columns, delimiter="|", latin=not is_utf8(path))
    labels = ", ".join(
        f"CASE WHEN trim({flag}) = '1' THEN {sql.text(genre)} ELSE '' END"
        for flag, genre in zip(flags, genres, strict=True)
    )
    return f"SELECT movieId, nullif(title, 'unknown') AS title, {_no_genres(f'[{labels}]')} AS genres FROM {scan}"


def _genres(path: Path) -> list[str]:
    """u.genre: lines of name|number."""
    if not path.is_file():
        return list(_GENRES_100K)
    with path.open(encoding="latin-1") as file:
        lines = [line.strip().rsplit("|", 1) for line in file.read(1 << 16).splitlines() if "|" in line]
    if not lines or not all(number.isdigit() for _, number in lines):
        raise InputError(f"{path.name} must hold lines such as `Action|1`; restore or delete it")
    return [name for name, _ in sorted(lines, key=lambda line: int(line[1]))]


def _from_dat(_connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    scan = text_scan(path, ("movieId", "title", "genres"), delimiter="::", latin=not is_utf8(path))
    return f"SELECT movieId, title, {_no_genres(_split('genres'))} AS genres FROM {scan}"


def _from_csv(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    file = open_file(connection, path)
    _need(path, file.columns, ("movieId", "title", "genres"))
    movie, title, genres = (file.reference(c) for c in ("movieId", "title", "genres"))
    return f"SELECT {movie} AS movieId, {title} AS title, {_no_genres(_split(genres))} AS genres FROM {file.scan}"


def _split(genres: str) -> str:
    return f"string_split({genres}, '|')"


def _tag_words(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """SQL of (movieId, tags): what was said most often first."""
    if path.suffix == ".csv":
        file = open_file(connection, path)
        _need(path, file.columns, ("movieId", "tag"))
        movie, tag, scan = file.reference("movieId"), file.reference("tag"), file.scan
    else:
        movie, tag = "movieId", "tag"
        scan = text_scan(path, ("userId", "movieId", "tag", "time"), delimiter="::", latin=not is_utf8(path))
    counted = (
        f"SELECT {movie} AS movieId, lower(trim({tag})) AS tag, count(*) AS times FROM {scan} "
        f"WHERE trim({tag}) <> '' GROUP BY ALL"
    )
    return f"SELECT movieId, string_agg(tag, ', ' ORDER BY times DESC, tag) AS tags FROM ({counted}) GROUP BY movieId"


def _need(path: Path, columns: tuple[str, ...], needed: tuple[str, ...]) -> None:
    lacking = [c for c in needed if c not in columns]
    if lacking:
        raise InputError(
            f"{path.name} has no column {lacking[0]!r} (its columns are: {listed_columns(columns)}); "
            "restore the file from the archive"
        )


def _tag_note(tags: Path | None) -> tuple[str, ...]:
    if tags is None:
        return ()
    return (
        f"description: the tags of {tags.name}, at whatever time users gave them; "
        "some are younger than the events to be predicted",
    )


LAYOUTS = (
    Layout("u.data", "u.item", None, _from_item, "\t"),
    Layout("ratings.dat", "movies.dat", "tags.dat", _from_dat, "::"),
    Layout("ratings.csv", "movies.csv", "tags.csv", _from_csv, None),
)
