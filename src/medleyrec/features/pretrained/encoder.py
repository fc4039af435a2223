"""What pretrained encoders share: their name, their revision, the pointer that is kept instead of weights.

Letters:  n contents   D width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from medleyrec.features.base import FACTS_FILE, Encoded, Progress, Vectors, read_facts, unit_rows
from medleyrec.features.pretrained.files import file_hashes
from medleyrec.features.pretrained.loading import dtype_name, first_line, quiet
from medleyrec.features.pretrained.place import Place, here, slug
from medleyrec.schema import InputError, Mask
from medleyrec.storage import hash_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
NOT_FINITE = "the model gives no finite vector"


class Pretrained(ABC):
    """An encoder that was trained elsewhere: it ignores what it is fitted on.

    The model is opened when the first content is encoded; what the store holds already needs no model.
    """

    kind: ClassVar[str]
    modality: ClassVar[str]
    settings: ClassVar[type[Any]]
    decisive: ClassVar[tuple[str, ...]]
    """Settings that change vectors, beside the number format."""

    def __init__(
        self, config: Any, place: Place, *, width: int | None = None, files: dict[str, str] | None = None
    ) -> None:
        self.place = place
        self.config = config.model_copy(update={"dtype": dtype_name(config)})
        self.files = files or file_hashes(place.folder)
        self._width = width

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place.model}, {self.config.dtype})"

    @property
    def name(self) -> str:
        return slug(self.config.label) if self.config.label else self.place.name

    @property
    def width(self) -> int:
        if self._width is None:
            self._width = int(self._plain().shape[1])
        return self._width

    def expect_width(self, width: int) -> None:
        """Known from an earlier time, so that the model need not be opened to tell it."""
        self._width = width

    @cached_property
    def revision(self) -> str:
        chosen = self.config.model_dump(include={"dtype", *self.decisive})
        return hash_json([FORMAT_VERSION, self.kind, chosen, self.files])

    @property
    def origin(self) -> dict[str, Any]:
        """Where the vectors come from, for manifests and records: no path of this machine."""
        model = self.place.model if self.place.commit else self.place.folder.name
        chosen = self.config.model_dump(include={"dtype", *self.decisive})
        return {"model": model, "commit": self.place.commit, **chosen}

    @abstractmethod
    def encode(self, contents: Sequence[bytes]) -> Encoded: ...

    @abstractmethod
    def _plain(self) -> Tensor:
        """(1, D) of any content, for its width."""

    @classmethod
    def fit(
        cls,
        contents: Sequence[bytes | None],  # noqa: ARG003
        config: Any = None,
        *,
        progress: Progress | None = None,  # noqa: ARG003
    ) -> Self:
        """Opens what lies on this machine; raises InputError where it does not, the network is not asked."""
        config = config or cls.settings()
        return cls(config, here(config.model, config.commit))

    def save(self, folder: Path) -> None:
        """A pointer to the model and the hashes of its files."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {**self.config.model_dump(exclude={"device"}), "model": self.place.model, "commit": self.place.commit}
        facts = {"kind": self.kind, "name": self.name, "revision": self.revision, "width": self.width}
        write_json(
            folder / FACTS_FILE, {**facts, "config": config, "files": self.files, "format_version": FORMAT_VERSION}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises InputError where the model is gone, or is not the one that was saved."""
        facts = read_facts(folder)
        if facts.get("kind") != cls.kind:
            raise InputError(f"{folder} holds the encoder {facts.get('name')!r}, not one of {cls.kind}")
        config = cls.settings(**facts["config"])
        place = here(config.model, config.commit)
        found = _same_files(place, facts["files"])
        encoder = cls(config, place, width=facts["width"], files=found)
        if encoder.revision != facts["revision"]:
            raise InputError(f"{folder} is damaged: its settings are not the ones it was saved with; encode again")
        return encoder

    def _finished(self, rows: list[int], found: list[Tensor], reasons: list[str | None]) -> Encoded:
        """Vectors of some rows, in the order found, put in their places with norm 1."""
        vectors = np.zeros((len(reasons), self.width), np.float32)
        if rows:
            vectors[rows] = _numbers(found)
        finite: Mask = np.asarray(np.isfinite(vectors).all(axis=1))
        if rows and not finite[rows].any() and not self._plain().isfinite().all():
            raise InputError(
                f"{self.name} gives no finite vector in {self.config.dtype}; set dtype to bfloat16 or float32 in "
                f"encode.{self.modality}_settings"
            )
        told = [reason or (None if ok else NOT_FINITE) for reason, ok in zip(reasons, finite, strict=True)]
        vectors[~finite] = 0
        return Encoded(unit_rows(vectors), tuple(told))


def _numbers(found: list[Tensor]) -> Vectors:
    return np.concatenate([tensor.float().cpu().numpy() for tensor in found])


def _same_files(place: Place, known: dict[str, str]) -> dict[str, str]:
    """The hashes of the model's files. Raises InputError where one is not as it was; the hub's cache may have grown."""
    found = file_hashes(place.folder)
    if place.commit:
        found = {name: value for name, value in found.items() if name in known}
    changed = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
    if changed:
        raise InputError(
            f"the model in {place.folder} is not the one that made these vectors: {changed[0]} differs; put the former "
            "files back, or encode again"
        )
    return found


@contextmanager
def computing(encoder: Pretrained) -> Iterator[None]:
    """No gradients, no talk, and one sentence where the model fails or the device has too little memory."""
    import torch

    with torch.inference_mode(), quiet():
        try:
            yield
        except torch.OutOfMemoryError:
            raise InputError(
                f"{encoder.name} needs more memory than the device has; lower batch_tokens or batch in "
                f"encode.{encoder.modality}_settings"
            ) from None
        except InputError:
            raise
        except Exception as error:  # whatever a foreign model raises
            raise InputError(
                f"{encoder.name} cannot compute vectors ({first_line(error)}); is it a whole model that this version "
                "of transformers knows?"
            ) from None
