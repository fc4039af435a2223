"""Large pictures: what takes much memory is done one at a time and in pieces, with the same result."""

import threading
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medleyrec.features import decode
from medleyrec.features.decode import read_all, read_picture


def encoded(values, kind):
    file = BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(60 * 50, dtype=np.uint16).reshape(60, 50) * 21, "PNG"),
        (np.linspace(-1, 300, 60 * 50, dtype=np.float32).reshape(60, 50), "TIFF"),
        (np.array([[np.nan, 0.5], [1.0, 0.25]], np.float32), "TIFF"),
    ],
)
def test_deep_greys_in_pieces_are_what_they_are_as_a_whole(values, kind, monkeypatch):
    whole = read_picture(encoded(values, kind), 24, 10**6)
    monkeypatch.setattr(decode, "LARGE", 4 * 7 * values.shape[1])  # 7 rows at a time
    np.testing.assert_array_equal(read_picture(encoded(values, kind), 24, 10**6), whole)
    assert whole.std() > 0


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    inside, most, guard = 0, 0, threading.Lock()
    on_white = decode._on_white

    def counted(image, side):
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with guard:
            inside -= 1
        return on_white(image, side)

    monkeypatch.setattr(decode, "_on_white", counted)
    monkeypatch.setattr(decode, "cores", lambda: 4)
    contents = [encoded(np.full((50, 50), n, np.uint8), "PNG") for n in range(8)]
    read_all(contents, lambda content: read_picture(content, 24, 10**6))
    assert most > 1, "small ones are decoded side by side"
    most = 0
    monkeypatch.setattr(decode, "LARGE", 2499)
    read_all(contents, lambda content: read_picture(content, 24, 10**6))
    assert most == 1


def test_large_pieces_of_memory_go_back_to_the_system():
    read_picture(encoded(np.zeros((9, 9), np.uint8), "PNG"), 24, 10**6)
    assert Image.core.get_block_size() == decode.BLOCK_SIZE > 32 << 20, "the C library gives back what is larger"
