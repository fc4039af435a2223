"""Amazon metadata of any generation -> one staged table of items, cleaned in SQL.

2014: Python literals with `categories` (paths); 2018: JSON with `category` (one path), lists of description and
feature, prices such as "$12.99" and remains of web pages; 2023: JSON with `parent_asin`, `features`, `store`.
Addresses of pictures are left out: nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from medleyrec.schema import BRAND, CATEGORIES, DESCRIPTION, ITEM, PRICE, TITLE
from medleyrec.sources import packed, sql
from medleyrec.sources.literals import first_record, to_json_parquet
from medleyrec.sources.staging import Staging, check_broken

FIELDS = (
    *("asin", "parent_asin", "title", "description", "feature", "features", "category", "categories"),
    *("main_cat", "main_category", "brand", "store", "price"),
)
ITEM_COLUMNS = {
    ITEM: "asin",
    TITLE: "title",
    DESCRIPTION: "description",
    CATEGORIES: "categories",
    BRAND: "brand",
    PRICE: "price",
}
_DESCRIBING = ("description", "feature", "features")
_ENTITIES = {
    "&quot;": '"',
    "&#34;": '"',
    "&#39;": "'",
    "&#x27;": "'",
    "&apos;": "'",
    "&lt;": "<",
    "&gt;": ">",
    "&nbsp;": " ",
    "&amp;": "&",
}
"""`&amp;` comes last, so that what it protects is not read twice."""
_SCRIPT = r"getTime\s*\(|aPageStart"
"""What a page's own program left in the place of some titles of 2018."""


def staged_items(staging: Staging, path: Path) -> tuple[Path, tuple[str, ...]]:
    """(staged items with the columns of ITEM_COLUMNS, notes). Raises InputError where too many lines are broken."""
    raw = staging.write(path, f"SELECT {_told()}, {_every_field_null()} AS broken FROM ({_records(staging, path)})")
    scan = staging.scan(raw)
    query = f"SELECT count(*), count_if(broken OR asin IS NULL), count_if(scripted) FROM {scan}"
    total, broken, scripted = sql.fetch_one(staging.connection, query, where=path.name)
    notes = check_broken(path, broken=broken, total=total, what="item")
    if scripted:
        notes += (f"{path.name}: {scripted:,} titles are remains of a web page's program and are left out",)
    if broken:
        raw = staging.write(path, f"SELECT * FROM {scan} WHERE asin IS NOT NULL")
    return raw, notes


def _records(staging: Staging, path: Path) -> str:
    """SQL of FIELDS as JSON, a row for each line."""
    _, strict = first_record(path)
    if strict:
        types = ", ".join(f"{name}: 'JSON'" for name in FIELDS)
        return (
            f"SELECT * FROM read_json({sql.exact_path(path)}, format = 'newline_delimited', ignore_errors = true, "
            f"{packed.option(path)}, columns = {{{types}}})"
        )
    target = staging.place(path.name)
    to_json_parquet(path, FIELDS, target)
    return f"SELECT {', '.join(f'CAST({name} AS JSON) AS {name}' for name in FIELDS)} FROM {staging.scan(target)}"


def _every_field_null() -> str:
    return f"coalesce({', '.join(FIELDS)}) IS NULL"


def _told() -> str:
    title = _words("title")
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "asin": f"nullif(trim(coalesce({_string('parent_asin')}, {_string('asin')})), '')",
            "title": f"CASE WHEN NOT regexp_matches({title}, '{_SCRIPT}') THEN {_clean(title)} END",
            "description": _clean(f"concat_ws(' ', {', '.join(map(_words, _DESCRIBING))})"),
            "categories": _paths(),
            "brand": _clean(rf"regexp_replace(coalesce({_string('brand')}, {_string('store')}), '^\s*by\s*\n\s*', '')"),
            "price": f"nullif(nullif({_string('price')}, 'None'), '—')",
            "scripted": f"coalesce(regexp_matches({title}, '{_SCRIPT}'), false)",
        }.items()
    )


def _string(field: str) -> str:
    """Text or number; NULL for JSON's null and for lists."""
    return f"CASE WHEN json_type({field}) NOT IN ('NULL', 'ARRAY', 'OBJECT') THEN {field} ->> '$' END"


def _words(field: str) -> str:
    """A list of texts is joined."""
    listed = f"array_to_string(from_json({field}, '[\"VARCHAR\"]'), ' ')"
    return f"CASE WHEN json_type({field}) = 'ARRAY' THEN {listed} ELSE {_string(field)} END"


def _clean(text: str) -> str:
    """Without tags and entities, white space made single; NULL where nothing is left."""
    bare = rf"regexp_replace({text}, '(?is)<(script|style)\b.*?</(script|style)>|<[a-z/!][^<>]*>', ' ', 'g')"
    for entity, character in _ENTITIES.items():
        bare = f"replace({bare}, {sql.text(entity)}, {sql.text(character)})"
    return rf"nullif(trim(regexp_replace({bare}, '\s+', ' ', 'g')), '')"


def _paths() -> str:
    """`categories`, `category`, or the one label of `main_cat` and `main_category` where these have none."""
    paths = f"coalesce({_filled('categories')}, {_filled('category')})"
    main = _clean(f"coalesce({_string('main_category')}, {_string('main_cat')})")
    return f"coalesce({paths}, CASE WHEN {main} IS NOT NULL THEN [[{main}]] END)"


def _filled(field: str) -> str:
    """VARCHAR[][], NULL without a label. A path ends where remains of a web page begin."""
    nested = f"from_json({field}, '[[\"VARCHAR\"]]')"
    flat = f"[from_json({field}, '[\"VARCHAR\"]')]"
    one = f"[[{_string(field)}]]"
    paths = (
        f"CASE WHEN json_type({field}, '$[0]') = 'ARRAY' THEN {nested} "
        f"WHEN json_type({field}) = 'ARRAY' THEN {flat} WHEN {_string(field)} IS NOT NULL THEN {one} END"
    )
    end = "coalesce(nullif(list_position(list_transform(p, lambda x: contains(x, '<')), true), 0), len(p) + 1)"
    cut = f"list_transform({paths}, lambda p: p[: {end} - 1])"
    labels = f"list_filter(list_transform(p, lambda x: {_clean('x')}), lambda x: x IS NOT NULL)"
    kept = f"list_filter(list_transform({cut}, lambda p: {labels}), lambda p: len(p) > 0)"
    return f"CASE WHEN len({kept}) > 0 THEN {kept} END"
