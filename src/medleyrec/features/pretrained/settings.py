"""What may be chosen of a pretrained encoder; everything else follows from the model's own files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medleyrec.config import Config

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
TextPooling = Literal["auto", "mean", "cls", "last"]
PicturePooling = Literal["auto", "pooler", "cls", "mean"]


class ModelConfig(Config):
    """Where the model is, and how it runs."""

    model: str = Field(default="", description="a folder of a Hugging Face model, or its name on the hub")
    commit: str | None = Field(default=None, description="commit, tag or branch on the hub; by default the main branch")
    label: str = Field(default="", description="name of the vectors in tables and reports; by default the model's")
    dtype: Dtype = Field(
        default="auto", description="numbers of the model: float32 on a CPU, bfloat16 or float16 on a GPU"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1")


class TextModelConfig(ModelConfig):
    """Of a text model. auto pooling: sentence-transformers' own, that of a dual model's text tower, else mean."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    pooling: TextPooling = Field(default="auto", description="mean, cls, or last: the last token that is no padding")
    max_tokens: int | None = Field(
        default=None, ge=1, description="longer texts are cut; by default what the model allows, 512 at most"
    )
    prompt: str = Field(default="", description="text put before each text, for models that were trained with one")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens computed at once, padding included; changes speed and memory alone"
    )


class PictureModelConfig(ModelConfig):
    """Of a vision or dual model. auto pooling: a dual model's picture features, a trained pooler, else mean."""

    pooling: PicturePooling = "auto"
    max_pixels: int = Field(default=50_000_000, ge=1, le=89_000_000, description="larger pictures are left out")
    batch: int | None = Field(
        default=None, ge=1, description="pictures computed at once; changes speed and memory alone"
    )
