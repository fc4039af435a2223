"""Single values as SQL: ids exactly as written, text or nothing, prices."""

from __future__ import annotations

from medleyrec.schema import InputError
from medleyrec.sources.files import JSON, File

_SPACES = "concat(" + ", ".join(f"chr({ord(c)})" for c in map(chr, range(0x3001)) if c.isspace()) + ")"
_NESTED = ("STRUCT", "MAP", "UNION")
_EXACT = {"DOUBLE": 2**53, "FLOAT": 2**24}


def id_text(file: File, column: str) -> str:
    """VARCHAR of an id. Floats that are whole numbers (integers that met a missing value) lose their `.0`."""
    reference, kind = file.reference(column), file.type_of(column)
    if kind == "VARCHAR":
        return reference
    if kind in _EXACT:
        whole = f"{reference} = trunc({reference}) AND abs({reference}) <= {_EXACT[kind]}"
        return f"CASE WHEN {whole} THEN CAST(CAST({reference} AS BIGINT) AS VARCHAR) END"
    if kind.startswith("DECIMAL"):
        return f"CASE WHEN {reference} % 1 = 0 THEN CAST(CAST({reference} AS HUGEINT) AS VARCHAR) END"
    if kind == "BLOB":
        return f"try(decode({reference}))"
    if kind.endswith("]") or kind.startswith(_NESTED):
        raise InputError(f"{file.told(column)} cannot hold ids; write them as text or integers")
    return f"CAST({reference} AS VARCHAR)"


def is_blank(value: str) -> str:
    """Nothing, or white space alone. Most values begin with a visible ASCII character, which is told apart at once.

    CASE, unlike OR and AND, leaves out for each value what need not be known, and the second question is slow.
    """
    visible = f"unicode({value}) BETWEEN 33 AND 126"
    return f"(CASE WHEN {visible} THEN false WHEN trim({value}, {_SPACES}) <> '' THEN false ELSE true END)"


def text_of(file: File, column: str) -> str:
    """VARCHAR, NULL where nothing is written; the parts of a list are joined by a space."""
    reference, kind = file.reference(column), file.type_of(column)
    if kind.endswith("[]"):
        reference = f"array_to_string(list_filter(CAST({reference} AS VARCHAR[]), lambda x: x IS NOT NULL), ' ')"
    elif file.kind == JSON:
        listed = f"left(ltrim({reference}), 1) = '[' AND json_valid({reference})"
        parts = f"array_to_string(TRY_CAST(CAST({reference} AS JSON) AS VARCHAR[]), ' ')"
        reference = f"CASE WHEN {listed} THEN {parts} ELSE {reference} END"
    else:
        reference = f"CAST({reference} AS VARCHAR)"
    return f"CASE WHEN trim({reference}) <> '' THEN {reference} END"


def price_of(file: File, column: str) -> str:
    """DOUBLE: `$1,299.00`, `12,30 EUR` and 12.3 are prices; a range or a word is NULL."""
    reference, kind = file.reference(column), file.type_of(column)
    if kind != "VARCHAR":
        return f"CASE WHEN isfinite(TRY_CAST({reference} AS DOUBLE)) THEN TRY_CAST({reference} AS DOUBLE) END"
    mark = r"(?:[A-Za-z]{1,3}\.?|\p{Sc}|[A-Za-z]{1,2}\p{Sc})"
    digits = f"regexp_extract({reference}, '^\\s*{mark}?\\s*(-?\\d[\\d.,'' ]*?)\\s*{mark}?\\s*$', 1)"
    bare = f"replace(replace({digits}, ' ', ''), '''', '')"
    comma = f"regexp_matches({bare}, '^[^,]*,\\d{{1,2}}$')"
    english = f"replace({bare}, ',', '')"
    european = f"replace(replace({bare}, '.', ''), ',', '.')"
    return f"TRY_CAST(CASE WHEN {comma} THEN {european} ELSE {english} END AS DOUBLE)"
