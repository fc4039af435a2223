"""Models of pictures behind one call, and pictures as such a model reads them.

Letters:  B pictures   D width
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.decode import UnreadableError
from medleyrec.features.pretrained.loading import open_image_processor, open_model
from medleyrec.features.pretrained.pixels import read_upright
from medleyrec.features.pretrained.pooling import pool_picture
from medleyrec.features.pretrained.towers import is_dual, pooled
from medleyrec.schema import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from medleyrec.features.pretrained.place import Place
    from medleyrec.features.pretrained.settings import PictureModelConfig

Pixels = NDArray[np.float32]
USUAL_SIDE = 224


class PictureTower:
    """A vision model, or the vision tower of a dual model."""

    def __init__(self, place: Place, name: str, config: PictureModelConfig) -> None:
        self.processor = open_image_processor(place.folder, name)
        self.model, missing = open_model(place.folder, name, config)
        self.max_pixels, self.side = config.max_pixels, _side(self.processor)
        self.dual = is_dual(self.model)
        self.pooling = _pooling(config.pooling, self.dual, bool(missing), name)
        if not self.dual and getattr(self.model, "main_input_name", "") != "pixel_values":
            raise InputError(
                f"{name} ({type(self.model).__name__}) does not turn pictures into vectors; name a vision model (ViT, "
                "DINOv2) or a dual one (CLIP, SigLIP)"
            )
        self._shape = self._processed(_grey(self.side)).shape
        if len(self._shape) != 3:
            raise InputError(f"the image processor of {name} gives {self._shape}, not one picture; take another model")

    def pixels(self, content: bytes) -> Pixels | str:
        """(3, height, width) as the model reads it, or the reason why there is none."""
        try:
            image = read_upright(content, self.side, self.max_pixels)
        except UnreadableError as reason:
            return str(reason)
        found = self._processed(image)
        return found if found.shape == self._shape else "not of the size that the model reads"

    def grey(self) -> Pixels:
        """What the model reads of a plain picture."""
        return self._processed(_grey(self.side))

    def vectors(self, pixels: list[Pixels]) -> Tensor:
        """(B, D)"""
        import torch

        batch = torch.from_numpy(np.stack(pixels)).to(self.model.device, self.model.dtype)
        if self.dual:
            return pooled(self.model.get_image_features(pixel_values=batch))
        return pool_picture(self.model(pixel_values=batch), self.pooling)

    def _processed(self, image: Any) -> Pixels:
        found = self.processor(image, return_tensors="np")["pixel_values"]
        return np.asarray(found[0], np.float32)


def _pooling(wanted: str, dual: bool, untrained: bool, name: str) -> str:
    if dual and wanted != "auto":
        raise InputError(f"{name} gives picture features of its own; leave pooling = {wanted!r} out")
    if wanted == "pooler" and untrained:
        raise InputError(f"the weights of {name} have no trained pooler; take pooling = mean or cls")
    return "mean" if wanted == "auto" and untrained else wanted


def _side(processor: Any) -> int:
    """Pixels of the largest side that the processor asks for."""
    found = [n for key in ("size", "crop_size") for n in _numbers(getattr(processor, key, None))]
    return max(found, default=USUAL_SIDE)


def _numbers(size: Any) -> list[int]:
    if isinstance(size, int):
        return [size]
    values = dict(size).values() if size else ()
    return [int(v) for v in values if isinstance(v, int | float) and 0 < v <= 4096]


def _grey(side: int) -> Any:
    from PIL import Image

    return Image.new("RGB", (side, side), (127, 127, 127))
