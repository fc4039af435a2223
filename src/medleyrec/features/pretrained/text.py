"""Texts -> vectors by a pretrained model.

Letters:  n texts   D width
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from medleyrec.config import Config
from medleyrec.features.base import Encoded
from medleyrec.features.pretrained.batching import length_batches
from medleyrec.features.pretrained.encoder import Pretrained, computing
from medleyrec.features.pretrained.loading import device_of
from medleyrec.features.pretrained.settings import TextModelConfig
from medleyrec.features.pretrained.towers import MOST_TOKENS, TextTower, open_text_tower
from medleyrec.features.text import NO_TEXT
from medleyrec.schema import TEXT

if TYPE_CHECKING:
    from torch import Tensor

NOTHING_KNOWN = "no known character"
BUDGET = {"cpu": 2048, "cuda": 65_536}
"""Tokens computed at once, padding included."""
LONG = 64
"""Characters per token; what lies behind so many is not even cut into tokens."""


class PretrainedTextEncoder(Pretrained):
    """Any text model; see `towers` for the kinds."""

    kind: ClassVar[str] = "pretrained-text"
    modality: ClassVar[str] = TEXT
    settings: ClassVar[type[Config]] = TextModelConfig
    decisive: ClassVar[tuple[str, ...]] = ("pooling", "max_tokens", "prompt")

    @cached_property
    def tower(self) -> TextTower:
        return open_text_tower(self.place, self.name, self.config)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        texts = [self._text(content) for content in contents]
        reasons: list[str | None] = [None if shows(text) else NO_TEXT for text in texts]
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        if not rows:
            return self._finished([], [], reasons)
        with computing(self), planless(self.config):
            lengths = self.tower.lengths([texts[row] for row in rows])
            for row, length in zip(rows, lengths, strict=True):
                reasons[row] = None if length else NOTHING_KNOWN
            rows = [row for row in rows if reasons[row] is None]
            order, found = self._computed([texts[row] for row in rows], [n for n in lengths if n])
        return self._finished([rows[i] for i in order], found, reasons)

    def _computed(self, texts: list[str], lengths: list[int]) -> tuple[list[int], list[Tensor]]:
        order: list[int] = []
        found: list[Tensor] = []
        for batch in length_batches(lengths, self._budget):
            found.append(self.tower.vectors([texts[i] for i in batch]))
            order += batch
        return order, found

    @property
    def _budget(self) -> int:
        return self.config.batch_tokens or BUDGET.get(device_of(self.config).type, BUDGET["cpu"])

    def _text(self, content: bytes) -> str:
        text = content.decode("utf-8", errors="replace")
        return text[: LONG * (self.config.max_tokens or MOST_TOKENS)]

    def _plain(self) -> Tensor:
        with computing(self):
            return self.tower.vectors(["text"])


@contextmanager
def planless(config: TextModelConfig) -> Iterator[None]:
    """float32 on the CPU without oneDNN: it keeps a plan for every shape, and texts of all lengths have hundreds.

    They come to some hundred MiB and make nothing faster; other formats need it.
    """
    import torch

    if device_of(config).type != "cpu" or config.dtype != "float32":
        yield
        return
    with torch.backends.mkldnn.flags(enabled=False):
        yield


def shows(text: str) -> bool:
    """Whether there is anything to read; U+FFFD stands for bytes that are no text."""
    return any(c.isprintable() and not c.isspace() and c != "\ufffd" for c in text)
