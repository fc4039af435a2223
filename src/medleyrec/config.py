"""TOML files and `--set a.b=c` become frozen, fully checked settings; an unknown key is an error.

A settings class derives from `Config` and stands next to the class it configures.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from medleyrec.schema import InputError


class Config(BaseModel):
    """Frozen settings; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after runs had been recorded. At their defaults, which change nothing, records leave them out:
    what was recorded without them keeps its name."""

    def recorded(self) -> dict[str, Any]:
        """As JSON, for a record that says what was run."""
        untouched = {name for name in self.LATER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=untouched)


C = TypeVar("C", bound=BaseModel)


def parse(cls: type[C], values: Mapping[str, Any], *, where: str) -> C:
    """Check `values` against `cls`; what does not fit raises one InputError naming `where`, key, value and fix."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise InputError("; ".join(_sentence(cls, e, where) for e in error.errors()[:3])) from None


def _sentence(cls: type[BaseModel], error: Any, where: str) -> str:
    path = [str(p) for p in error["loc"]]
    key = _printable(".".join(path), 80)
    if error["type"] == "extra_forbidden":
        known = _fields_at(cls, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{where}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{where}: {key!r} is missing"
    message = _printable(error["msg"].removeprefix("Value error, "), 200)
    shown = _printable(repr(error["input"]), 10**6)
    shown = shown if len(shown) <= 80 else f"{shown[:76]}...{shown[-1]}"
    return f"{where}: {key} = {shown} does not fit: {message}; mend it" if key else f"{where}: {message}; mend it"


def _printable(text: str, limit: int) -> str:
    """One line of at most so many characters."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def _fields_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        field = cls.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        cls = field.annotation
    return list(cls.model_fields)


def read_toml(path: Path) -> dict[str, Any]:
    """Raises InputError where the file is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, a TOML file is needed") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; convert it to UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        told = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path} is not valid TOML ({told}); mend that place") from None


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=c` in turn; the value is read as TOML where it is TOML (3, true, [1, 2]), else as text."""
    merged = _copied(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {override!r} is not of the form key=value, for example --set train.seed=1")
        place = merged
        *parents, last = key.strip().split(".")
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {override!r}: {name!r} is a value, not a table")
        place[last] = _value(text.strip())
    return merged


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
