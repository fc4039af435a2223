"""What one case is. A kind of case is a function (random, folder) that writes files into the folder and returns one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

EASY = {"min_user_events": 1, "min_item_events": 1}
"""Options of `prepare` under which every event stays."""


class Event(NamedTuple):
    user: str
    item: str
    time: int
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Settings, and what must come of them where that is known by thought; else any sound dataset or any sentence.

    `events` or `refused` is given, or neither. `named`: the sentence must name one of these.
    """

    source: dict[str, Any] = field(default_factory=dict)
    prepare: dict[str, Any] = field(default_factory=lambda: dict(EASY))
    toml: Path | None = None
    """Where the settings come from a file instead."""
    events: tuple[Event, ...] | None = None
    """Exactly these events must come out."""
    may_refuse: bool = False
    """Where `events` are given: a refusal is good too, other events are not."""
    titles: dict[str, str | None] | None = None
    """Exactly these titles must come out, by item."""
    refused: str | None = None
    """Must be refused, with a sentence in which this pattern is found."""
    pictures: int | None = None
    """So many items must get a picture vector; encoding runs where `encode` is set."""
    encode: bool = False
    named: tuple[str, ...] = ()


Kind = Callable[[Random, Path], Case]
