"""Settings of DMESR (dmesr.py), and what of them given data allow."""

from __future__ import annotations

from itertools import combinations
from typing import Literal, Self

from pydantic import Field, model_validator

from medleyrec.config import Config
from medleyrec.models.items import Scaling
from medleyrec.models.masking import SLOW
from medleyrec.models.views import COARSE, FINE
from medleyrec.schema import DESCRIBED_IMAGE, DESCRIBED_TEXT, DESCRIPTIONS, ID, PICTURE, TEXT

RECONSTRUCTION = "DMESR here is a reconstruction from the paper's abstract: its equations were not available."


class DMESRSettings(Config):
    """Everything that changes the shape, the behaviour or the losses of the network, and nothing else."""

    items: tuple[str, ...] = Field(
        default=(ID,),
        description="what an item is. Coarse views: described_image, described_text, described_both (a language "
        "model's; image may stand in); fine views: attributes (text may stand in), or field_title, field_brand, ...; "
        "id: a third, trained view. A model without coarse or without fine views has no cross-attention",
    )
    backbone: Literal["sasrec", "gru4rec", "bert4rec"] = "sasrec"
    width: int = Field(default=64, gt=0, description="of each side of an item: coarse, fine, id")
    depth: int = Field(default=2, gt=0, description="of the backbone; so is heads")
    heads: int = Field(default=2, gt=0)
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)
    coarse: Literal["mean", "linear"] = Field(
        default="mean", description="how the coarse views become one vector; linear: a linear map of them side by side"
    )
    fusion: Literal["sequence", "item", "none"] = Field(
        default="sequence",
        description="sequence: the coarse and the fine sequence of a row ask each other; item: each item's coarse "
        "vector asks its fine views, of which it needs two, such as field_title and field_brand; none: side by side",
    )
    cross_heads: int = Field(default=2, gt=0, description="of the attention between the views")
    norm: bool = Field(default=True, description="a layer norm of both sequences before they ask each other; ours")
    residual: bool = Field(default=True, description="add the asking sequence to the answer of the other; ours")
    align: Literal["all", "image-text", "none"] = Field(
        default="all",
        description="which pairs of coarse views are aligned; image-text: described_image with described_text alone",
    )
    alpha: float = Field(default=0.1, ge=0, description="weight of the alignment; 0 turns it off")
    temperature: float = Field(default=0.1, gt=0, description="of the alignment")
    pool: int = Field(default=1024, gt=1, description="items of a step that the alignment compares")
    objective: Literal["softmax", "bce"] = Field(
        default="softmax",
        description="softmax over the catalogue; bce: each target against one random item, the habit of that group",
    )
    mask: float = Field(default=0.6, gt=0, lt=1, description="share of a row's events masked; bert4rec alone")
    mask_last: float = Field(
        default=0.1, ge=0, le=1, description="share of rows with the last event alone masked; bert4rec alone"
    )
    content_vectors: Scaling = Field(
        default="standardised",
        description="standardised: column by column; centred: one scale for all columns; unit: each of the same length",
    )
    content_scale: float = Field(default=1.0, gt=0, description="length of a content vector before its adapter")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        for name in ("heads", "cross_heads"):
            if self.width % getattr(self, name):
                raise ValueError(f"width ({self.width}) must be a multiple of {name} ({getattr(self, name)})")
        return self

    @model_validator(mode="after")
    def _items_have_something_to_ask(self) -> Self:
        if self.fusion == "item" and not (len(set(FINE) & set(self.items)) > 1 and set(COARSE) & set(self.items)):
            raise ValueError(
                'fusion = "item" lets a coarse vector choose among fine views, so items must name a coarse view and '
                f"two or more of {', '.join(FINE)}"
            )
        return self

    @property
    def crosses(self) -> bool:
        """Whether there are two sides and they ask each other."""
        return self.fusion == "sequence" and bool(set(COARSE) & set(self.items) and set(FINE) & set(self.items))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Of views that are aligned."""
        if self.align == "none" or not self.alpha:
            return []
        if self.align == "image-text":
            wanted = (DESCRIBED_IMAGE, DESCRIBED_TEXT)
            return [wanted] if set(wanted) <= set(self.items) else []
        return list(combinations([name for name in self.items if name in COARSE], 2))


def notes_of(settings: DMESRSettings) -> tuple[str, ...]:
    """What it is, what these views do not allow, which are not what is meant, and what was set in vain."""
    items, notes = settings.items, [RECONSTRUCTION]
    if settings.fusion == "sequence" and not settings.crosses:
        notes.append(f"DMESR with {' and '.join(items)} alone: there is nothing to fuse, cross-attention is off.")
    if settings.align != "none" and settings.alpha and not settings.pairs:
        notes.append(f"DMESR with {' and '.join(items)} alone: there is no pair of views to align, alignment is off.")
    if PICTURE in items:
        notes.append("DMESR takes vectors of pictures as a coarse view, in place of what a language model wrote.")
    elif not set(DESCRIPTIONS) & set(items):
        notes.append("DMESR without descriptions: nothing here was written by a language model.")
    if TEXT in items:
        notes.append("DMESR takes the texts' own vectors as a fine view, in place of sentences about attributes.")
    if settings.backbone == "bert4rec":
        notes.append(SLOW)
    if vain := _in_vain(settings):
        notes.append(f"DMESR on {settings.backbone} with {' and '.join(items)} has no use for {' and '.join(vain)}.")
    return tuple(notes)


def _in_vain(settings: DMESRSettings) -> list[str]:
    """Settings that differ from their defaults and that nothing reads."""
    unread = {
        "heads": settings.backbone == "gru4rec",
        "mask": settings.backbone != "bert4rec",
        "mask_last": settings.backbone != "bert4rec",
        "coarse": len(set(COARSE) & set(settings.items)) < 2,
        "norm": not settings.crosses,
        "residual": not settings.crosses,
        "cross_heads": not settings.crosses and settings.fusion != "item",
        "temperature": not settings.pairs,
        "pool": not settings.pairs,
    }
    defaults = type(settings).model_fields
    return [name for name, idle in unread.items() if idle and getattr(settings, name) != defaults[name].default]
