"""What an encoder is: content of items in, vectors out.

Letters:  n contents   D width

Every encoder, fitted here or trained elsewhere, follows one protocol; one that needs no fit simply ignores the contents
it is fitted on. Vectors have norm 1 (or are zero), so float16 holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from medleyrec.config import Config
from medleyrec.schema import InputError
from medleyrec.storage import hash_bytes, hash_json, read_json, write_json

Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with (done, total)."""

FACTS_FILE, ARRAYS_FILE = "encoder.json", "arrays.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One row per content; a row with a reason is missing, and zero."""

    vectors: Vectors  # (n, D)
    reasons: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.reasons)

    def __repr__(self) -> str:
        missing = sum(r is not None for r in self.reasons)
        return f"Encoded({len(self)} x {self.vectors.shape[1]}, {missing} missing)"


class Encoder(Protocol):
    """Content -> vectors of one modality.

    `revision` hashes name, settings and fitted state: equal revisions give equal vectors. A content's vector does not
    depend on what is encoded beside it. Whatever the bytes are, `encode` neither raises nor warns.
    """

    modality: ClassVar[str]
    settings: ClassVar[type[Config]]

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def revision(self) -> str: ...

    def encode(self, contents: Sequence[bytes]) -> Encoded: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...

    @classmethod
    def fit(cls, contents: Sequence[bytes | None], config: Any = None, *, progress: Progress | None = None) -> Self: ...


def sampled(contents: Sequence[bytes | None], limit: int, progress: Progress | None) -> Iterator[bytes]:
    """At most `limit` contents, evenly spread over all of them, one at a time; absent ones are left out."""
    rows = np.unique(np.linspace(0, len(contents) - 1, min(limit, len(contents))).astype(np.int64))
    for done, row in enumerate(rows, start=1):
        content = contents[int(row)]
        if progress:
            progress(done, len(rows))
        if content is not None:
            yield content


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows of norm 1; a row that is zero stays zero."""
    norms = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True, dtype=np.float32))
    norms[norms == 0] = 1
    scaled: Vectors = vectors / norms
    return scaled


def revision_of(name: str, settings: dict[str, Any], arrays: dict[str, NDArray[Any]], words: Sequence[str] = ()) -> str:
    told = [np.ascontiguousarray(arrays[k]).tobytes() + repr(arrays[k].shape).encode() for k in sorted(arrays)]
    return hash_bytes(hash_json([FORMAT_VERSION, name, settings, list(words)]).encode(), *told)


def save_state(folder: Path, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """`facts` names at least the encoder and its revision; arrays go to safetensors."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / ARRAYS_FILE)
    write_json(folder / FACTS_FILE, {**facts, "format_version": FORMAT_VERSION})


def read_facts(folder: Path) -> dict[str, Any]:
    facts = read_json(folder / FACTS_FILE)
    if not isinstance(facts, dict) or facts.get("format_version") != FORMAT_VERSION:
        found = facts.get("format_version") if isinstance(facts, dict) else facts
        raise InputError(
            f"{folder / FACTS_FILE} has format_version {found!r}, this version reads {FORMAT_VERSION}; encode again"
        )
    return facts


def load_state(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `save_state` wrote. Raises InputError where it is missing, damaged or of another encoder."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    facts = read_facts(folder)
    if facts.get("name") != name:
        raise InputError(f"{folder} holds the encoder {facts.get('name')!r}, not {name!r}")
    try:
        return facts, load_file(folder / ARRAYS_FILE)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{folder / ARRAYS_FILE} cannot be read ({error}); run `medley encode --refit-encoders`"
        ) from None


def check_revision(folder: Path, facts: dict[str, Any], revision: str) -> None:
    if facts.get("revision") != revision:
        raise InputError(
            f"{folder} is damaged: its content is not the one it was saved with; run `medley encode --refit-encoders`"
        )
