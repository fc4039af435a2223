"""How a model is asked: one template per view, from a TOML that can be copied and edited."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from medleyrec.config import Config, parse, read_toml
from medleyrec.features.describe.items import VALUES, Item
from medleyrec.schema import DESCRIPTIONS, InputError
from medleyrec.storage import write_text

PACKAGED = Path(__file__).with_name("prompts.toml")
PLACES = ("attributes", *VALUES)
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Prompts(Config):
    """Templates by view. `{title}` and the like are places; `{{` is a brace."""

    longest_value: int = Field(default=100, ge=1)
    """Characters of each value that are shown."""
    system: str = ""
    described_image: str = Field(min_length=1)
    described_text: str = Field(min_length=1)
    described_both: str = Field(min_length=1)

    @model_validator(mode="after")
    def _known_places(self) -> Self:
        for view in ("system", *DESCRIPTIONS):
            for found in _PLACE.finditer(getattr(self, view)):
                if found[0] not in ("{{", "}}") and (view == "system" or found[1] not in PLACES):
                    raise ValueError(
                        f"{found[0]!r} in {view} is no place for a value; in the views there are "
                        f"{', '.join(f'{{{p}}}' for p in PLACES)}; a brace is written twice"
                    )
        return self

    def rendered(self, view: str, item: Item) -> str:
        """The question about `item`, its values filled in."""

        def fill(found: re.Match[str]) -> str:
            name = found[1]
            if name is None:
                return found[0][0]
            if name == "attributes":
                said = item.attributes(self.longest_value)
                return f"{said}." if said else ""
            return item.value(name)[: self.longest_value].strip()

        template: str = getattr(self, view)
        return _PLACE.sub(fill, template).strip()

    @property
    def told_system(self) -> str:
        return self.system.replace("{{", "{").replace("}}", "}").strip()


def read_prompts(path: Path | None = None) -> Prompts:
    """The packaged ones by default. Raises InputError naming the file and what does not fit in it."""
    path = path or PACKAGED
    return parse(Prompts, read_toml(path), where=str(path))


def write_prompts(target: Path) -> None:
    """A copy of the packaged file, to be edited; never over an existing one."""
    if target.exists():
        raise InputError(f"{target} exists already; name another file, or delete it first")
    write_text(target, PACKAGED.read_text(encoding="utf-8"))
