"""Settings of HM4SR (hm4sr.py), and which of its losses are on with given data.

`reference` names what is done as in the published code instead of the paper's way.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medleyrec.config import Config
from medleyrec.models.items import Scaling
from medleyrec.schema import ID, Facts, InputError

IDCL, PCL, CP = "idcl", "pcl", "cp"

Deviation = Literal[
    "all", "raw-features", "raw-seconds", "fixed-experts", "padding-class", "counted-negatives", "category-mask"
]


class HM4SRSettings(Config):
    """Everything that changes the shape, the behaviour or the losses of the network, and nothing else."""

    items: tuple[str, ...] = Field(default=(ID,), description="what an item is: any of id, text, image")
    width: int = Field(default=64, gt=0, description="of each part of an item")
    depth: int = Field(default=2, gt=0)
    heads: int = Field(default=2, gt=0)
    inner: int = Field(default=0, ge=0, description="width of the feed-forward; 0 is four times the width")
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)
    experts: int = Field(default=4, gt=0, description="of each mixture")
    interval_scale: float = Field(default=100, gt=0, description="rows of the interval table per doubling of a gap")
    interactive: bool = Field(default=True, description="false leaves the Interactive MoE out")
    temporal: bool = Field(default=True, description="false leaves the Temporal MoE out")
    idcl: float = Field(default=1.0, ge=0, description="weight of the contrastive loss on ids; 0 turns it off")
    pcl: float = Field(default=1.0, ge=0, description="weight of the placeholder contrastive loss; 0 turns it off")
    cp: float = Field(default=1.0, ge=0, description="weight of category prediction; 0 turns it off")
    idcl_temperature: float = Field(default=0.2, gt=0)
    pcl_temperature: float = Field(default=1.0, gt=0)
    init: float = Field(default=0.02, gt=0, description="standard deviation of fresh encoder weights")
    content_scale: float = Field(
        default=1.0,
        gt=0,
        description="length of a content vector before its projection; more learns faster",
    )
    content_vectors: Scaling = Field(
        default="standardised",
        description="standardised: column by column; centred: one scale for all columns, so that those that vary more "
        "stay louder; unit: each of the same length",
    )
    placeholder_share: float = Field(default=0.3, gt=0, lt=1, description="of events that PCL replaces")
    placeholders: Literal["row", "prefix"] = Field(
        default="row",
        description="row: each event with that probability, one draw for all prefixes; prefix: exactly that share of "
        'each row, rounded down, as published; goes with train.mode = "prefix"',
    )
    pool: int = Field(default=1024, gt=1, description="positions of a step that the contrastive losses compare")
    same_user_negatives: bool = Field(default=True, description="false: positions of one user are no negatives")
    reference: tuple[Deviation, ...] = Field(
        default=(),
        description="what to do as in the published code. raw-features: as they are, zeros where missing, a random row "
        "0; raw-seconds: time phases of raw seconds in the model's precision; fixed-experts: temporal experts do not "
        "learn; padding-class: row 0 is a class of the softmax; counted-negatives: a false negative adds exp(0); "
        "category-mask: category prediction looks at the first B tokens and as many classes as a row has events; all",
    )

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    def as_published(self, what: Deviation) -> bool:
        return what in self.reference or "all" in self.reference


def active_losses(settings: HM4SRSettings, facts: Facts) -> dict[str, float]:
    """Weights of the losses that these data and settings allow."""
    content = any(name != ID for name in settings.items)
    possible = {
        IDCL: ID in settings.items,
        PCL: content,
        CP: facts.num_categories > 0,
    }
    few = 0 < facts.num_categories < settings.max_length
    if settings.cp and few and settings.as_published("category-mask"):
        raise InputError(
            f"model hm4sr: category prediction as published needs at least max_length ({settings.max_length}) "
            f"categories, there are {facts.num_categories}; set cp = 0 or take category-mask out of reference"
        )
    return {name: getattr(settings, name) for name, on in possible.items() if on and getattr(settings, name) > 0}


def notes_of(settings: HM4SRSettings, facts: Facts) -> tuple[str, ...]:
    """What these data do not allow; what the settings turn off needs no telling."""
    notes = []
    if settings.idcl and ID not in settings.items:
        notes.append("HM4SR without ids: the contrastive loss on ids (IDCL) is off.")
    if settings.pcl and set(settings.items) == {ID}:
        notes.append("HM4SR without text and image: the placeholder contrastive loss (PCL) is off.")
    if settings.cp and not facts.num_categories:
        notes.append("HM4SR without categories: category prediction (CP) is off.")
    return tuple(notes)
