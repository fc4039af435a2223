"""Settings of CAMMSR (cammsr.py), and what of them given data allow."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medleyrec.config import Config
from medleyrec.models.items import Scaling
from medleyrec.models.swap import PAIRS, Pair, present
from medleyrec.schema import ID, Facts


class CAMMSRSettings(Config):
    """Everything that changes the shape, the behaviour or the losses of the network, and nothing else."""

    items: tuple[str, ...] = Field(default=(ID,), description="what an item is: any of id, text, image")
    width: int = Field(default=64, gt=0, description="of each part of an item")
    depth: int = Field(default=2, gt=0)
    heads: int = Field(default=2, gt=0)
    inner: int = Field(default=0, ge=0, description="width of feed-forwards and experts; 0 is four times the width")
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)
    dyt: bool = Field(default=True, description="dynamic tanh in front of the encoders; false: LayerNorm")
    experts: int = Field(default=4, gt=0, description="of each part")
    router: Literal["attentive", "linear"] = Field(
        default="attentive", description="linear: a softmax gate that sees one event at a time"
    )
    router_attention: Literal["causal", "prefix"] = Field(
        default="causal",
        description="causal: an event sees those before it; prefix: the whole row, both ways, as the paper's formula "
        'reads; goes with train.mode = "prefix"',
    )
    gates: Literal["raw", "softmax"] = Field(default="raw", description="of the attentive router, as printed: raw")
    guidance: bool = Field(default=True, description="false: the parts of an item weigh the same")
    category_sign: Literal[1, -1] = Field(
        default=1, description="1: more weight to the part that tells the categories worse, as printed; -1: better"
    )
    category_reduction: Literal["sum", "mean"] = Field(
        default="sum", description="over the classes; with sum, weights come near 0 and 1 where there are many"
    )
    multi_label: Literal["multi_hot", "max"] = Field(
        default="multi_hot", description="max: the worst of an item's labels alone decides how far off a part is"
    )
    category_loss_weight: float = Field(
        default=0.0, ge=0, description="of a loss of its own on the categories; without it the heads learn by weights"
    )
    labels_missing: float = Field(default=0.0, ge=0, le=1, description="share of items that lose their labels")
    labels_wrong: float = Field(default=0.0, ge=0, le=1, description="share of items that get another item's labels")
    mscl: float = Field(default=0.25, ge=0, description="weight lambda of the modality swap; 0 turns it off")
    pairs: tuple[Pair, ...] = Field(default=PAIRS, description="of parts that are swapped, as far as both are there")
    swap: float = Field(default=0.5, ge=0, le=1, description="probability that an event is swapped")
    temperature: float = Field(default=0.2, gt=0, description="of the modality swap; the paper's is 1")
    same_target_negatives: bool = Field(
        default=True, description="false: positions that predict the same item are no negatives of each other"
    )
    pool: int = Field(default=1024, gt=1, description="positions of a step that the modality swap compares")
    init: Literal["xavier", "normal"] = Field(
        default="normal",
        description="xavier: all fresh weights, as the paper says; normal: what hm4sr has too starts as there, which "
        "validates better",
    )
    content_vectors: Scaling = Field(
        default="unit",
        description="unit: each of the same length; standardised: column by column; centred: one scale for all columns",
    )
    content_scale: float = Field(default=1.0, gt=0, description="length of a content vector before its projection")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        if len(set(self.pairs)) < len(self.pairs):
            raise ValueError(f"pairs = {list(self.pairs)} names a pair twice; name each once")
        return self


def guided(settings: CAMMSRSettings, facts: Facts) -> bool:
    """Whether labels are used at all: one part alone weighs 1 whatever it tells."""
    weighs = settings.guidance and len(settings.items) > 1
    return facts.num_categories > 0 and (weighs or settings.category_loss_weight > 0)


def notes_of(settings: CAMMSRSettings, facts: Facts) -> tuple[str, ...]:
    """What these data do not allow, and what was spoilt on purpose; what the settings turn off needs no telling."""
    notes = []
    if settings.guidance and len(settings.items) > 1 and not facts.num_categories:
        notes.append("CAMMSR without categories: category guidance is off, the parts of an item weigh the same.")
    if settings.category_loss_weight and not facts.num_categories:
        notes.append("CAMMSR without categories: the category loss is off.")
    if settings.mscl and settings.pairs and not present(settings.pairs, settings.items):
        there = " and ".join(settings.items)
        notes.append(f"CAMMSR with {there} alone: there is no pair to swap, the modality swap (MSCL) is off.")
    for share, what in ((settings.labels_missing, "without labels"), (settings.labels_wrong, "with wrong labels")):
        if share and guided(settings, facts):
            notes.append(f"CAMMSR takes about {share:.0%} of the items to be {what}, on purpose.")
    return tuple(notes)
