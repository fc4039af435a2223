"""Which column of a file is which canonical column: mapped by the user, else recognised by a common spelling.

Spellings are compared without case, spaces and punctuation, so that `User ID`, `user_id` and `userId` are one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pydantic import Field, field_validator

from medleyrec.config import Config
from medleyrec.schema import (
    BRAND,
    CATEGORIES,
    DESCRIPTION,
    EVENT,
    IMAGE,
    ITEM,
    PRICE,
    RATING,
    TIME,
    TITLE,
    USER,
    InputError,
)
from medleyrec.sources.faults import quoted

_USERS = """userid user useridx uid customerid customer customerno customernumber visitorid visitor reviewerid reviewer
memberid member accountid account sessionid session buyerid buyer clientid client shopperid"""
_ITEMS = """itemid item iid asin parentasin productid product productno productnumber sku skuid movieid movie filmid
articleid article articleno articlenumber bookid songid trackid gameid businessid isbn adid contentid videoid"""
_TIMES = """timestamp time ts date datetime eventtime unixtime unixreviewtime unixtimestamp createdat created
eventtimestamp eventdate ratedat purchasedat orderdate purchasedate transactiondate tdat timestampms timestamps"""
_INTERACTIONS = {
    USER: _USERS,
    ITEM: _ITEMS,
    TIME: _TIMES,
    RATING: "rating ratings stars star overall score",
    EVENT: "event eventtype action actiontype behavior behaviour interaction interactiontype",
}
_CATALOGUE = {
    ITEM: _ITEMS + " id",
    TITLE: "title name itemname itemtitle productname producttitle prodname movietitle",
    DESCRIPTION: "description desc text plot overview summary synopsis itemdescription productdescription detaildesc",
    CATEGORIES: "categories category genres genre tags tag categorypath categoryname productcategory",
    BRAND: "brand brandname manufacturer maker vendor",
    PRICE: "price itemprice unitprice listprice",
    IMAGE: """image picture poster photo img imagepath imagefile imageurl imurl picturepath posterpath imgpath imgurl
    thumbnail""",
}


def _known(words: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Spellings per canonical name; the canonical name itself comes first."""
    return {name: tuple(dict.fromkeys(map(plain, (name, *listed.split())))) for name, listed in words.items()}


def plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


INTERACTION_SPELLINGS = _known(_INTERACTIONS)
ITEM_SPELLINGS = _known(_CATALOGUE)
REQUIRED = frozenset({USER, ITEM, TIME})
_MEANING = {USER: "the user", ITEM: "the item", TIME: "the time of the event"}


def check_mapping(mapping: Mapping[str, str], known: Mapping[str, tuple[str, ...]], table: str) -> None:
    """Raises ValueError for a canonical name that does not exist or that cannot be left out."""
    for canonical, column in mapping.items():
        if canonical not in known:
            near = difflib.get_close_matches(canonical, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise ValueError(f"{canonical!r} is not a column that {table} can have; {hint}")
        if not column and canonical in REQUIRED:
            raise ValueError(f'{canonical} = "" would leave out a column that is needed; name a column of the file')


class ColumnMaps(Config):
    """Settings of every source whose columns a user can name."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical name -> name in the log; "" leaves rating or event out."""
    item_columns: dict[str, str] = Field(default_factory=dict)
    """The same for the catalogue."""

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        check_mapping(value, INTERACTION_SPELLINGS, "interactions")
        return value

    @field_validator("item_columns")
    @classmethod
    def _known_item_columns(cls, value: dict[str, str]) -> dict[str, str]:
        check_mapping(value, ITEM_SPELLINGS, "items")
        return value


def find_columns(
    columns: Sequence[str],
    *,
    mapping: Mapping[str, str],
    spellings: Mapping[str, tuple[str, ...]],
    where: str,
    table: str,
) -> dict[str, str]:
    """Canonical name -> column of the file, for those that are there. Mapping a name to "" leaves it out.

    `where` names the file in sentences, `table` is the TOML table of the mapping: columns or item_columns.
    """
    found = {name: _mapped(name, column, columns, where) for name, column in mapping.items() if column}
    free = [c for c in columns if c not in found.values()]
    for name, known in spellings.items():
        if name in mapping:
            continue
        column = _recognised(name, known, free, columns, where, table)
        if column is not None:
            found[name] = column
        elif name in REQUIRED:
            raise InputError(f"{where} has no column for {_MEANING[name]} ({name}); {_how(name, columns, table)}")
    return {name: found[name] for name in spellings if name in found}


def _mapped(name: str, column: str, columns: Sequence[str], where: str) -> str:
    if columns.count(column) == 1:
        return column
    if column in columns:
        raise InputError(
            f"{where} has {columns.count(column)} columns named {quoted(column)}; rename all but one of them"
        )
    near = difflib.get_close_matches(plain(column), [plain(c) for c in columns], n=1)
    close = next((c for c in columns if near and plain(c) == near[0]), None)
    listed = f"its columns are: {listed_columns(columns)}; name one of them"
    hint = f"did you mean {quoted(close)}?" if close is not None else listed
    raise InputError(f"{where} has no column {quoted(column)}, which {name} is mapped to; {hint}")


def _recognised(
    name: str, known: tuple[str, ...], free: Sequence[str], columns: Sequence[str], where: str, table: str
) -> str | None:
    """The canonical spelling wins over the others; between the others nothing is guessed."""
    candidates = [c for c in free if plain(c) == known[0]] or [c for c in free if plain(c) in known]
    if len(set(candidates)) < len(candidates):
        raise InputError(f"{where} has two columns named {quoted(candidates[0])}; rename one of them")
    if len(candidates) > 1:
        both = " and ".join(quoted(c, 40) for c in candidates[:2])
        raise InputError(f"{where}: {both} could each be {name}; {_how(name, columns, table, example=candidates[0])}")
    return candidates[0] if candidates else None


def _how(name: str, columns: Sequence[str], table: str, example: str | None = None) -> str:
    if sum(c.replace(".", "", 1).isdigit() for c in columns) > 1:
        shown = listed_columns(columns)
        return f"its first line looks like data ({shown}): put a line with the names of the columns on top"
    examples = columns if example is None else [example]
    example = next((c for c in examples if c and len(c) <= 40 and c.isprintable()), "name of the column")
    flag = f'--column {name}="{example}", or in the TOML ' if table == "columns" else "in the TOML "
    return (
        f"its columns are: {listed_columns(columns)}; say which it is, such as {flag}"
        f'under [source.{table}]: {name} = "{example}"'
    )


def listed_columns(columns: Sequence[str]) -> str:
    """As many as make a readable sentence."""
    shown: list[str] = []
    while len(shown) < len(columns) and sum(map(len, shown)) < 120:
        shown.append(quoted(columns[len(shown)], 40))
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
