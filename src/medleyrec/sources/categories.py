"""Categories in a user's file -> VARCHAR[][], a list of paths, each root first (a flat list is one path), as SQL.

Read are lists, lists of lists, both of them also written as JSON or as a Python literal, and text with a separator:
one separator alone ("a|b|c") splits one path into its levels; a separator of paths together with a separator of
levels ("a > b|a > c") gives several paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medleyrec.schema import InputError
from medleyrec.sources import sql
from medleyrec.sources.files import File

SEPARATORS = ("|", ";", ">", ",")
_SEEN_IN = 0.05
"""Share of the written texts in which a character must occur to be taken for a separator."""
_LABELS = "list_filter(list_transform({}, lambda x: trim(x)), lambda x: x <> '')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separators:
    """How text becomes paths; None: there is none. `paths` alone never occurs."""

    paths: str | None = None
    levels: str | None = None


def chosen(between: str | None, levels: str | None) -> Separators | None:
    """What the user set: `between` splits labels, or paths where `levels` splits a path. None: to be recognised."""
    if between is None and levels is None:
        return None
    return Separators(paths=between or None, levels=levels) if levels else Separators(levels=between or None)


def count_separators(file: File, column: str) -> str:
    """SQL of a struct: how many texts there are, and in how many each separator occurs; lists are not counted."""
    reference = file.reference(column)
    plain = f"trim({reference}) <> '' AND left(ltrim({reference}), 1) <> '['"
    counts = [sql.count_if(f"{plain} AND contains({reference}, {sql.text(s)})") for s in SEPARATORS]
    return f"SELECT {sql.count_if(plain)}, {', '.join(counts)} FROM {file.scan}"


def recognised(texts: int, counts: Mapping[str, int]) -> Separators:
    """The comma comes last and alone: it is often part of a name."""
    common = [s for s in SEPARATORS if texts and counts[s] >= _SEEN_IN * texts]
    between = next((s for s in ("|", ";") if s in common), None)
    if ">" in common:
        return Separators(paths=between, levels=">")
    return Separators(levels=between or ("," if "," in common else None))


def told(separators: Separators) -> str:
    if separators.levels is None:
        return "categories: the text is one label"
    if separators.paths is None:
        return f"categories: split at {separators.levels!r} into one path, root first"
    return f"categories: split at {separators.paths!r} into paths and at {separators.levels!r} into levels, root first"


def paths_of(file: File, column: str, separators: Separators) -> str:
    """SQL of VARCHAR[][], NULL where there is no label."""
    reference, kind = file.reference(column), file.type_of(column)
    depth = kind.count("[]")
    if kind != "VARCHAR" and (kind.startswith(("STRUCT", "MAP", "UNION", "BLOB")) or depth > 2):
        raise InputError(
            f"{file.told(column)} cannot hold categories; "
            'write a list of labels, a list of paths, or text such as "a|b|c"'
        )
    if depth == 2:
        return _clean(f"CAST({reference} AS VARCHAR[][])")
    if depth == 1:
        return _clean(f"[CAST({reference} AS VARCHAR[])]")
    text = reference if kind == "VARCHAR" else f"CAST({reference} AS VARCHAR)"
    return _clean(_from_text(text, separators))


def _clean(paths: str) -> str:
    """Without empty labels and empty paths; NULL instead of an empty list."""
    inner = _LABELS.format("p")
    kept = f"list_filter(list_transform({paths}, lambda p: {inner}), lambda p: len(p) > 0)"
    return f"CASE WHEN len({kept}) > 0 THEN {kept} END"


def _from_text(text: str, separators: Separators) -> str:
    return (
        f"CASE WHEN left(ltrim({text}), 1) <> '[' OR right(rtrim({text}), 1) <> ']' THEN {_split(text, separators)} "
        f"WHEN json_valid({text}) THEN {_from_list(f'CAST({text} AS JSON)', text)} "
        f"ELSE {_from_list(_python(text), text)} END"
    )


def _from_list(value: str, text: str) -> str:
    """A text that begins `[[` holds paths."""
    nested = rf"regexp_matches({text}, '^\s*\[\s*\[')"
    return f"CASE WHEN {nested} THEN TRY_CAST({value} AS VARCHAR[][]) ELSE [TRY_CAST({value} AS VARCHAR[])] END"


def _python(text: str) -> str:
    """A Python list as DuckDB's own list text: the u of Python 2's u'...' has to go."""
    return f"regexp_replace({text}, '([\\[,]\\s*)u([''\"])', '\\1\\2', 'g')"


def _split(text: str, separators: Separators) -> str:
    paths = f"string_split({text}, {sql.text(separators.paths)})" if separators.paths else f"[{text}]"
    if separators.levels is None:
        return f"[{paths}]"
    return f"list_transform({paths}, lambda q: string_split(q, {sql.text(separators.levels)}))"
