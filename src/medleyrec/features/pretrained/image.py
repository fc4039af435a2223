"""Pictures -> vectors by a pretrained model.

Letters:  n pictures   D width
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from medleyrec.config import Config
from medleyrec.features.base import Encoded
from medleyrec.features.pretrained.encoder import Pretrained, computing
from medleyrec.features.pretrained.loading import device_of
from medleyrec.features.pretrained.pictures import PictureTower
from medleyrec.features.pretrained.pixels import ahead
from medleyrec.features.pretrained.settings import PictureModelConfig
from medleyrec.schema import PICTURE

if TYPE_CHECKING:
    from torch import Tensor

BATCH = {"cpu": 8, "cuda": 128}
"""Pictures computed at once; as many more are decoded meanwhile."""


class PretrainedPictureEncoder(Pretrained):
    """Any vision model, or the vision tower of a dual model."""

    kind: ClassVar[str] = "pretrained-image"
    modality: ClassVar[str] = PICTURE
    settings: ClassVar[type[Config]] = PictureModelConfig
    decisive: ClassVar[tuple[str, ...]] = ("pooling", "max_pixels")

    @cached_property
    def tower(self) -> PictureTower:
        return PictureTower(self.place, self.name, self.config)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        reasons: list[str | None] = []
        rows: list[int] = []
        found: list[Tensor] = []
        with computing(self):
            for read in ahead(contents, self._batch, self.tower.pixels):
                some = [pixels for pixels in read if not isinstance(pixels, str)]
                rows += [len(reasons) + i for i, pixels in enumerate(read) if not isinstance(pixels, str)]
                reasons += [pixels if isinstance(pixels, str) else None for pixels in read]
                if some:
                    found.append(self.tower.vectors(some))
        return self._finished(rows, found, reasons)

    @property
    def _batch(self) -> int:
        return self.config.batch or BATCH.get(device_of(self.config).type, BATCH["cpu"])

    def _plain(self) -> Tensor:
        with computing(self):
            return self.tower.vectors([self.tower.grey()])
