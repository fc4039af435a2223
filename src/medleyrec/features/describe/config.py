"""Settings of a description run. The endpoint's address is none of them: it may carry a password, and is never kept."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_validator

from medleyrec.features.describe.series import LENGTHS, AnswerSettings

View = Literal["described_image", "described_text", "described_both"]
Order = Literal["frequent", "uncertain", "catalogue"]
OURS = ("model", "messages", "stream", "n")
"""Fields of a request that answers, their origin and their cost are reckoned by."""


class DescribeConfig(AnswerSettings):
    """Section [describe]. Times are seconds."""

    model: str | None = Field(default=None, description="the model's name at the endpoint")
    views: tuple[View, ...] = Field(default=("described_image", "described_text", "described_both"), min_length=1)
    order: Order = Field(
        default="frequent",
        description="which items first: those most frequent in the training part; or those that it knows least of, "
        "which ids alone cannot place; or as they come",
    )
    use: str | None = Field(
        default=None, description="whose descriptions are used where several answered: a model, a file, template"
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="calls at the same time")
    timeout: float = Field(default=120, gt=0, description="seconds that one call may take")
    tries: int = Field(default=5, ge=1, le=20, description="calls for one question until it is left for the next run")
    first_wait: float = Field(
        default=1.0, gt=0, le=60, description="seconds before a call is repeated; doubled each time, half of it random"
    )
    longest_wait: float = Field(default=300, gt=0, description="most seconds that an endpoint's Retry-After is obeyed")
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0, description="tokens in, and the most that come out")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(default="auto", description="of a local model")

    @field_validator("body")
    @classmethod
    def _sendable(cls, body: dict[str, Any]) -> dict[str, Any]:
        if taken := [name for name in OURS if name in body]:
            raise ValueError(f"{taken[0]} is no further field; leave it out")
        for name in LENGTHS:
            if name in body and (type(body[name]) is not int or body[name] < 1):
                raise ValueError(f"{name} is a whole number of tokens, at least 1")
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("it holds what JSON has not, such as nan or a date") from None
        return body
