"""The dials of the bazaar, and one stream of random numbers per purpose."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from pydantic import Field

from medleyrec.config import Config


class BazaarConfig(Config):
    """Size and strictness of the planted shop. The default is the embedded data set; it is frozen."""

    seed: int = Field(default=0, ge=0)
    users: int = Field(default=4_500, ge=1)
    items: int = Field(default=1_728, ge=432)
    """At least one item per category, colour and material; a multiple of 432 makes all groups equally large."""
    events: float = Field(default=13.4, ge=6.0)
    """Mean number of events per user; nobody has fewer than 5 or more than 60."""
    follow: float = Field(default=0.85, ge=0.0, le=1.0)
    """Probability that a step inside a session obeys the category's law; otherwise any item of the category."""
    continuing: float = Field(default=0.7, ge=0.0, le=1.0)
    """Probability that an event continues the session of the event before it."""
    noise: bool = False
    """The noise twin: the same users, times, items and contents with every dependence removed."""


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


def numbers(config: BazaarConfig, stream: Stream, *more: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, int(stream), *more])
