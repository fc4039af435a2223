"""The dials of the bazaar, and one stream of random numbers per purpose."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from medleyrec.config import Config


class BazaarConfig(Config):
    """Size and strictness of the planted shop. The default is the embedded data set; it is frozen."""

    seed: int = Field(default=0, ge=0)
    users: int = Field(default=9_000, ge=1)
    items: int = Field(default=10_368, ge=432)
    """At least one per group; a multiple of 432 (12 categories x 36 groups) makes all groups equally large."""
    events: float = Field(default=7.5, ge=6.0)
    """Mean number of events per user; nobody has fewer than 5 or more than 60."""
    follow: float = Field(default=0.85, ge=0.0, le=1.0)
    """Probability that a step inside a session obeys the category's law; otherwise any item of the category."""
    advance: int = Field(default=0, ge=0, lt=6)
    """How far the sums that a category follows move per step; 0 keeps them equal: similarity, not a transition."""
    turn: int = Field(default=0, ge=0, lt=6)
    """How much further sums move after an event that continued a session; 0: gaps do not tell what follows."""
    continuing: float = Field(default=0.7, ge=0.0, le=1.0)
    """Probability that an event continues the session of the event before it."""
    noise: bool = False
    """The noise twin: the same users, times, items and contents with every dependence removed."""

    @model_validator(mode="after")
    def _nobody_is_alone(self) -> Self:
        stays = self.advance == 0 or (self.turn and (self.advance + self.turn) % 6 == 0)
        if stays and self.items < 864:
            raise ValueError(
                f"items ({self.items}) must be at least 864 where sums stay equal (advance = 0 or advance + turn = 6), "
                "else groups have one item"
            )
        return self


class Stream(IntEnum):
    """What random numbers are for. Streams are independent, so that no part of the shop shifts another."""

    ATTRIBUTES = 1
    WORDS = 2
    PICTURES = 3
    DESCRIBED = 4
    LAWS = 5
    USERS = 6
    CLOCK = 7
    CHOICES = 8
    TWIN_EVENTS = 9
    TWIN_CONTENTS = 10
    VIEWS = 11


def numbers(config: BazaarConfig, stream: Stream, *more: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, int(stream), *more])
