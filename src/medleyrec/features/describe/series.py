"""Who is asked, and how: the identity under which answers are kept.

A key is a hash of all that an answer depends on: model, settings, system text, question, picture. Equal keys are equal
questions, whatever the dataset, its k-core or the row of the item. Answers of a file belong to item ids instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from medleyrec.config import Config, parse
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.prompts import Prompts
from medleyrec.features.describe.standin import stand_in
from medleyrec.schema import DESCRIBED_BOTH, DESCRIBED_IMAGE, DESCRIPTIONS
from medleyrec.storage import hash_bytes, hash_json

Kind = Literal["endpoint", "local", "file", "template"]
ENDPOINT, LOCAL, FILE, TEMPLATE = "endpoint", "local", "file", "template"
STAND_IN = "template (stand-in)"
LENGTHS = ("max_tokens", "max_completion_tokens")
"""Fields of a request that bound its answer; the second is the newer name."""


class AnswerSettings(Config):
    """Settings that change what is answered."""

    max_tokens: int = Field(default=160, ge=1, description="most tokens of an answer")
    temperature: float = Field(default=0.0, ge=0, le=2)
    side: int = Field(default=384, ge=28, le=2048, description="side of the picture that is sent, pixels")
    body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of a request, such as { seed = 1 }; they win over ours"
    )

    @property
    def most_out(self) -> int:
        """Tokens that a call may bring: what `body` says wins."""
        return max(int(self.body.get(name, 0)) for name in LENGTHS) or self.max_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """text: what is asked; of a template, what it says. `key` names its answer."""

    row: int
    view: str
    key: str
    text: str
    pictured: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """kind and name say who answers; prompts and settings are those of a model."""

    kind: str
    name: str = ""
    prompts: Prompts | None = None
    settings: AnswerSettings | None = None

    @property
    def origin(self) -> str:
        """For a reader. A template is never called a model."""
        told = {ENDPOINT: f"{self.name} via endpoint", LOCAL: f"{self.name} in process", FILE: f"file: {self.name}"}
        return told.get(self.kind, STAND_IN)

    @cached_property
    def id(self) -> str:
        return hash_json(self.to_json())[:12]

    @cached_property
    def _settings_hash(self) -> tuple[str, str]:
        """Without and with what matters for pictures alone."""
        values = self.settings.model_dump(mode="json") if self.settings else {}
        return hash_json({k: v for k, v in values.items() if k != "side"}), hash_json(values)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "prompts": self.prompts.model_dump(mode="json") if self.prompts else None,
            "settings": self.settings.model_dump(mode="json") if self.settings else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], *, where: str) -> Series:
        prompts, settings = values["prompts"], values["settings"]
        return cls(
            kind=values["kind"],
            name=values["name"],
            prompts=None if prompts is None else parse(Prompts, prompts, where=where),
            settings=None if settings is None else parse(AnswerSettings, settings, where=where),
        )

    def questions(self, items: Items, row: int, views: tuple[str, ...] = DESCRIPTIONS) -> Iterator[Question]:
        """Of one item. A view whose content the item lacks is not asked for."""
        if self.kind == FILE:
            for view in views:
                yield Question(row=row, view=view, key=file_key(self.name, items.dataset.item_ids[row], view), text="")
            return
        item = items[row]
        if self.kind == TEMPLATE:
            for view in views:
                if text := stand_in(view, item):
                    yield Question(row=row, view=view, key=hash_bytes(*_coded(TEMPLATE, view, text)), text=text)
            return
        assert self.prompts is not None
        told = bool(item.attributes(self.prompts.longest_value))
        for view in views:
            pictured = view in (DESCRIBED_IMAGE, DESCRIBED_BOTH)
            picture = items.picture_hash(row) if pictured else ""
            if (pictured and not picture) or (view != DESCRIBED_IMAGE and not told):
                continue
            text = self.prompts.rendered(view, item)
            key = self._key(text, picture)
            yield Question(row=row, view=view, key=key, text=text, pictured=pictured)

    def _key(self, text: str, picture: str) -> str:
        assert self.prompts is not None
        settings = self._settings_hash[bool(picture)]
        return hash_bytes(*_coded(self.kind, self.name, settings, self.prompts.told_system, text, picture))

    def facts(self, view: str) -> dict[str, str]:
        """What every record says of its origin."""
        template = f"{self.prompts.system}\n{getattr(self.prompts, view)}" if self.prompts else ""
        return {
            "series": self.id,
            "origin": self.origin,
            "model": self.name,
            "prompt": hash_bytes(template.encode())[:12] if template else "",
            "settings": self._settings_hash[view in (DESCRIBED_IMAGE, DESCRIBED_BOTH)][:12] if self.settings else "",
        }


def file_key(name: str, item_id: str, view: str) -> str:
    return hash_bytes(*_coded(FILE, name, item_id, view))


def _coded(*parts: str) -> list[bytes]:
    return [part.encode("utf-8", "surrogatepass") for part in parts]
