"""Models of texts behind one call: texts in, one vector each out.

Letters:  B texts   L tokens   D width

Three kinds: a sentence-transformers folder is used as it is; of a dual model (CLIP, SigLIP) the text tower; any other
model gives token states, which are pooled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from medleyrec.features.pretrained.loading import open_model, open_sentence_model, open_tokenizer, quiet
from medleyrec.features.pretrained.pooling import pool_tokens
from medleyrec.schema import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from medleyrec.features.pretrained.place import Place
    from medleyrec.features.pretrained.settings import TextModelConfig

MOST_TOKENS = 512
"""By default; models of long contexts would otherwise spend minutes on one description."""
PADDED_ALIKE = ("siglip",)
"""Types that saw only texts padded to their full length, and read the last place whatever stands there."""


class TextTower(Protocol):
    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model would see it, special ones included; 0 where nothing of it is left."""

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(B, D) on any device, of any float type; every text has a length."""


def open_text_tower(place: Place, name: str, config: TextModelConfig) -> TextTower:
    """Raises InputError where the model has nothing to do with texts."""
    if config.pooling == "auto" and (place.folder / "modules.json").is_file():
        return SentenceTower(open_sentence_model(place.folder, name, config), name, config)
    model, _ = open_model(place.folder, name, config)
    if is_dual(model):
        if config.pooling != "auto":
            raise InputError(f"{name} has a text tower of its own; leave pooling = {config.pooling!r} out")
        return DualTower(model, open_tokenizer(place.folder, name), name, config)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if getattr(model, "main_input_name", "input_ids") != "input_ids":
        raise InputError(f"{name} ({type(model).__name__}) does not read texts; name it with --image, or take another")
    return TokenTower(model, open_tokenizer(place.folder, name), name, config)


def is_dual(model: Any) -> bool:
    return hasattr(model, "get_image_features") and hasattr(model, "get_text_features")


class TokenTower:
    """Token states, pooled."""

    def __init__(self, model: Any, tokenizer: Any, name: str, config: TextModelConfig) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.prompt, self.pooling = config.prompt, "mean" if config.pooling == "auto" else config.pooling
        self.limit = token_limit(name, config.max_tokens, tokenizer, model)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        with quiet():
            found = self.tokenizer(
                self._prompted(texts), truncation=True, max_length=self.limit, return_special_tokens_mask=True
            )
        return [len(special) if len(special) > sum(special) else 0 for special in found["special_tokens_mask"]]

    def vectors(self, texts: Sequence[str]) -> Tensor:
        batch = self._batch(texts, padding=True)
        return pool_tokens(self.model(**batch).last_hidden_state, batch["attention_mask"], self.pooling)

    def _prompted(self, texts: Sequence[str]) -> list[str]:
        return [self.prompt + text for text in texts]

    def _batch(self, texts: Sequence[str], *, padding: bool | str, mask: bool = True) -> Any:
        batch = self.tokenizer(
            self._prompted(texts),
            padding=padding,
            truncation=True,
            max_length=self.limit,
            return_attention_mask=mask,
            return_tensors="pt",
        )
        return batch.to(self.model.device)


class DualTower(TokenTower):
    """The text tower of a model of texts and pictures: its vectors lie in the space of its pictures."""

    def __init__(self, model: Any, tokenizer: Any, name: str, config: TextModelConfig) -> None:
        super().__init__(model, tokenizer, name, config)
        self.alike = str(model.config.model_type).startswith(PADDED_ALIKE)
        if self.alike and config.max_tokens is not None:
            raise InputError(f"{name} reads every text padded to its full length; leave max_tokens out")

    def lengths(self, texts: Sequence[str]) -> list[int]:
        found = super().lengths(texts)
        return [self.limit if n else 0 for n in found] if self.alike else found

    def vectors(self, texts: Sequence[str]) -> Tensor:
        batch = self._batch(texts, padding="max_length" if self.alike else True, mask=not self.alike)
        return pooled(self.model.get_text_features(**batch))


class SentenceTower:
    """A sentence-transformers model with its own tokens, pooling, prompts and further layers."""

    def __init__(self, model: Any, name: str, config: TextModelConfig) -> None:
        self.model, self.prompt = model, config.prompt
        limit = model.max_seq_length
        if limit == math.inf:  # a static model: vectors of words, of any number of them
            if config.max_tokens is not None:
                raise InputError(f"{name} reads texts of any length; leave max_tokens out")
            return
        if limit is not None and (config.max_tokens or 0) > limit:
            raise InputError(_too_long(name, config.max_tokens or 0, limit))
        model.max_seq_length = min(limit or MOST_TOKENS, config.max_tokens or MOST_TOKENS)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        tokenizer, limit = self.model.tokenizer, self.model.max_seq_length
        if limit == math.inf:
            return [len(found) for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        with quiet():
            found = tokenizer(list(texts), return_special_tokens_mask=True, truncation=True, max_length=limit)
        return [len(special) if len(special) > sum(special) else 0 for special in found["special_tokens_mask"]]

    def vectors(self, texts: Sequence[str]) -> Tensor:
        told = {"prompt": self.prompt} if self.prompt else {}
        found: Tensor = self.model.encode(
            list(texts), batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False, **told
        )
        return found


def pooled(output: Any) -> Tensor:
    """Features of a dual model, whichever way its class returns them."""
    found: Tensor = getattr(output, "pooler_output", output)
    return found


def token_limit(name: str, wanted: int | None, tokenizer: Any, model: Any) -> int:
    """How many tokens a text may have. Raises InputError where more are wanted than the model has places for."""
    inner = getattr(model.config, "text_config", model.config)
    places = getattr(inner, "max_position_embeddings", None) or tokenizer.model_max_length
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa and its kin: positions count from the place behind it
        places -= padding + 1
    most = int(min(places, tokenizer.model_max_length))
    if wanted is not None and wanted > most:
        raise InputError(_too_long(name, wanted, most))
    return min(most, wanted or MOST_TOKENS)


def _too_long(name: str, wanted: int, most: int) -> str:
    return f"{name} reads at most {most} tokens; lower encode.text_settings.max_tokens from {wanted}"
