"""Pictures whose answer is known, and every kind of picture that shops really have, broken ones included."""

import io
import logging
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from medleyrec.features import descriptors, image
from medleyrec.features.decode import EMPTY, UNKNOWN, UnreadableError, read_picture
from medleyrec.features.descriptors import describe
from medleyrec.features.image import DescriptorEncoder, _principal
from medleyrec.schema import InputError

SIDE, MAX_PIXELS = 24, 1_000_000
RED, BLUE, WHITE = (230, 20, 20), (20, 40, 220), (255, 255, 255)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def drawn(shape, colour, shift=0, size=64):
    image = Image.new("RGB", (size, size), WHITE)
    box = (12 + shift, 12, 44 + shift, 44)
    pen = ImageDraw.Draw(image)
    {"circle": pen.ellipse, "square": pen.rectangle}[shape](box, fill=colour)
    return image


def read(content, max_pixels=MAX_PIXELS):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(content, SIDE, max_pixels).astype(int)


def reason(content, max_pixels=MAX_PIXELS):
    with pytest.raises(UnreadableError) as caught:
        read(content, max_pixels)
    return str(caught.value)


def halves(mode="RGB", left=RED, right=BLUE, size=(40, 40)):
    image = Image.new(mode, size, right)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image


def is_halves(pixels, left=RED, right=BLUE):
    return np.abs(pixels[:, 3] - left).max() < 12 and np.abs(pixels[:, -4] - right).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_the_usual_formats(kind):
    assert is_halves(read(saved(halves(), kind)))


def test_palette_with_transparency_on_white():
    image = Image.new("P", (40, 40), 0)
    image.putpalette([*RED, *BLUE, 0, 0, 0])
    image.paste(1, (20, 0, 40, 40))
    assert is_halves(read(saved(image)))
    assert is_halves(read(saved(image, transparency=1)), right=WHITE)
    assert is_halves(read(saved(image, "GIF", transparency=0)), left=WHITE)


def test_alpha_on_white():
    image = halves("RGBA", (*RED, 255), (0, 0, 0, 0))
    assert is_halves(read(saved(image)), right=WHITE)
    assert is_halves(read(saved(image, "WEBP", lossless=True)), right=WHITE)
    half = read(saved(Image.new("RGBA", (9, 9), (0, 0, 0, 128))))
    assert np.abs(half - 127).max() <= 1
    assert is_halves(read(saved(halves("LA", (0, 255), (0, 0)))), left=(0, 0, 0), right=WHITE)


def test_cmyk():
    assert is_halves(read(saved(halves().convert("CMYK"), "JPEG", quality=95)))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white(mode):
    assert is_halves(read(saved(halves(mode, 0, 255))), left=(0, 0, 0), right=WHITE)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.int32, 65535), (np.float32, 1), (np.float32, 255)])
def test_grey_of_many_bits(dtype, top):
    values = np.zeros((40, 40), dtype)
    values[:, 20:], values[:20, 20:] = top // 2 if top > 1 else 0.5, top
    pixels = read(saved(Image.fromarray(values), "PNG" if dtype == np.uint16 else "TIFF"))
    assert pixels[2, 2].tolist() == [0, 0, 0]
    assert pixels[2, -3].tolist() == [255, 255, 255]
    assert np.abs(pixels[-3, -3] - 127).max() <= 1


def test_the_first_frame_of_a_moving_picture():
    frames = [halves(), Image.new("RGB", (40, 40), WHITE), halves(left=BLUE, right=RED)]
    for kind in ("GIF", "WEBP", "PNG"):
        assert is_halves(read(saved(frames[0], kind, save_all=True, append_images=frames[1:])))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_turned_upright_as_the_camera_says(tag, kind):
    """The stored pixels are the upright picture with the inverse of the tag's turn applied."""
    upright = halves(size=(48, 80))
    ImageDraw.Draw(upright).rectangle((0, 0, 47, 30), fill=WHITE)  # no two of the eight turns look alike
    t = Image.Transpose
    back = {
        1: None, 2: t.FLIP_LEFT_RIGHT, 3: t.ROTATE_180, 4: t.FLIP_TOP_BOTTOM,
        5: t.TRANSPOSE, 6: t.ROTATE_90, 7: t.TRANSVERSE, 8: t.ROTATE_270,
    }[tag]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    turned = upright.transpose(back) if back is not None else upright
    expected, found = read(saved(upright)), read(saved(turned, kind, exif=exif.tobytes()))
    assert np.abs(expected - found).mean() < 8


def test_a_single_pixel():
    assert np.abs(read(saved(Image.new("RGB", (1, 1), RED))) - RED).max() == 0


def test_very_wide_and_very_high():
    assert is_halves(read(saved(halves(size=(4000, 2)))))
    assert read(saved(Image.new("RGB", (1, 3000), RED), "JPEG")).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_truncated_pictures_are_told_from_other_broken_ones(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), kind)
    told = reason(content[: len(content) // 2])
    assert told == {"WEBP": UNKNOWN}.get(kind, f"truncated {kind}")
    told = reason(content[:30])
    assert told in (UNKNOWN, f"truncated {kind}", f"broken {kind}")


def test_what_is_no_picture():
    assert reason(b"") == EMPTY
    assert reason(b"Not found\n") == UNKNOWN
    assert reason(b"<html><body>404</body></html>") == UNKNOWN
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == UNKNOWN
    assert reason(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == UNKNOWN


def png_of_size(width, height):
    """A PNG that promises many pixels in a few bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1001, 1000), (12_000, 12_000), (60_000, 60_000)])
def test_bombs_are_refused_before_they_are_unpacked(size):
    assert "too many pixels" in reason(png_of_size(*size))


def test_the_limit_is_a_limit_and_a_jpeg_that_can_be_scaled_may_be_larger():
    image = Image.new("RGB", (200, 100), RED)
    assert read(saved(image), max_pixels=20_000).any()
    assert reason(saved(image), max_pixels=19_999) == "too many pixels (limit 19999)"
    assert read(saved(image, "JPEG"), max_pixels=2_500).any()
    assert reason(saved(image, "JPEG"), max_pixels=2_499) == "too many pixels (limit 19992)"
    assert reason(saved(image, "JPEG", progressive=True), max_pixels=2_500) == "too many pixels (limit 2500)"


def test_a_large_jpeg_is_never_unpacked_whole(monkeypatch):
    content = saved(halves(size=(4000, 4000)), "JPEG")
    sizes = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda self, *a: sizes.append(self.size) or convert(self, *a))
    assert is_halves(read(content, max_pixels=16_000_000))
    assert sizes[0] == (500, 500)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
    place=st.integers(0, 400),
    junk=st.binary(min_size=1, max_size=8),
)
def test_damaged_bytes_give_a_picture_or_a_reason(kind, place, junk):
    content = bytearray(saved(drawn("circle", RED, size=48), kind))
    place %= len(content)
    content[place : place + len(junk)] = junk
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `encode` keeps them silent, as the contract tests see
        try:
            shape, told = read_picture(bytes(content), SIDE, MAX_PIXELS).shape, ""
        except UnreadableError as error:
            shape, told = None, str(error)
    assert shape == (SIDE, SIDE, 3) or 0 < len(told) < 60


def test_broken_pictures_do_not_disturb_their_neighbours():
    good = [
        saved(drawn(shape, colour, s)) for shape in ("circle", "square") for colour in (RED, BLUE) for s in range(3)
    ]
    encoder = DescriptorEncoder.fit([*good, b"broken", good[0][:90]])
    mixed = encoder.encode([good[0], b"", good[1], b"text", good[2], good[3][: len(good[3]) // 2]])
    assert mixed.reasons == (None, EMPTY, None, UNKNOWN, None, "truncated PNG")
    assert mixed.vectors[[0, 2, 4]].tobytes() == encoder.encode(good[:3]).vectors.tobytes()
    assert not mixed.vectors[[1, 3, 5]].any()


def test_what_pillow_says_of_a_damaged_tiff_stays_inside():
    content = saved(drawn("circle", RED, size=30), "TIFF")
    damaged = [content[:n] for n in range(20, len(content), 37)]
    damaged += [content[:n] + b"\xff\xff\xff" + content[n + 3 :] for n in range(len(content) - 250, len(content))]
    damaged += [content[:n] + b"\xff\xff\xff" + content[n + 3 :] for n in range(250)]
    encoder = DescriptorEncoder.fit([content])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = encoder.encode(damaged)
    assert any(found.reasons)
    assert not heard
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("PIL").handlers)


def likeness(a, b, block):
    a, b = describe(np.stack([read_picture(saved(x), 96, MAX_PIXELS) for x in (a, b)]))[block]
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_colour_sees_colour_and_edges_see_shape():
    red_circle, blue_circle = drawn("circle", RED), drawn("circle", BLUE)
    red_square = drawn("square", RED)
    for block in ("colour", "moments"):
        assert likeness(red_circle, red_square, block) > likeness(red_circle, blue_circle, block) + 0.1
    assert likeness(red_circle, blue_circle, "edges") > likeness(red_circle, red_square, "edges") + 0.1


def test_texture_sees_the_direction_of_stripes():
    across, down = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96, 3), np.uint8)
    across[::4], across[1::4], down[:, ::4], down[:, 1::4] = 255, 255, 255, 255
    a, b, moved = describe(np.stack([across, down, np.roll(across, 3, axis=0)]))["texture"]
    assert a @ moved > 0.95 * (a @ a)
    assert a @ b < 0.7 * (a @ a)


def test_the_picture_encoder_tells_four_groups_apart():
    groups = [[saved(drawn(s, c, i)) for i in range(-6, 8, 2)] for s in ("circle", "square") for c in (RED, BLUE)]
    encoder = DescriptorEncoder.fit([p for group in groups for p in group])
    vectors = np.stack([encoder.encode(group).vectors for group in groups])  # (4, 7, D)
    means = np.einsum("gid,hjd->gh", vectors, vectors) / 49
    assert means.diagonal().min() > means[~np.eye(4, dtype=bool)].max() + 0.2


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_principal_components_are_those_of_the_svd_with_the_peak_positive(shape):
    rows = np.random.default_rng(0).normal(size=shape) * 3
    rows -= rows.mean(axis=0)
    found, expected = _principal(rows, 5), np.linalg.svd(rows)[2][:5]
    np.testing.assert_allclose(np.abs(found @ expected.T), np.eye(5), atol=1e-9)
    assert (found.max(axis=1) == np.abs(found).max(axis=1)).all()


def test_edges_are_those_of_scikit_image():
    from skimage.feature import hog

    rng = np.random.default_rng(0)
    flat, steps = np.full((96, 96), 7), np.repeat(np.repeat(rng.integers(0, 3, (12, 12)) * 120, 8, axis=0), 8, axis=1)
    grey = np.stack([rng.integers(0, 256, (96, 96)), flat, steps, steps.T, np.arange(9216).reshape(96, 96) // 37])
    grey = grey.astype(np.uint8)
    options = {"orientations": 9, "pixels_per_cell": (16, 16), "cells_per_block": (2, 2), "transform_sqrt": True}
    np.testing.assert_allclose(descriptors._edges(grey), [hog(g, **options) for g in grey], atol=1e-6)


@pytest.mark.parametrize("side", [24, 30, 96])
def test_no_picture_depends_on_its_neighbours(side):
    pictures = np.random.default_rng(side).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    pictures[1] = 0
    together = describe(pictures)
    for i in range(5):
        for name, block in describe(pictures[i : i + 1]).items():
            assert together[name][i].tobytes() == block[0].tobytes()
            assert np.isfinite(block).all()


def test_parts_of_a_batch_keep_their_order_and_their_reasons(monkeypatch):
    pictures = [saved(drawn("circle", RED, i)) for i in range(-6, 8)]
    encoder = DescriptorEncoder.fit(pictures)
    mixed = [b"", *pictures[:3], b"no picture", *pictures[3:], b""]
    whole = encoder.encode(mixed)
    assert [i for i, reason in enumerate(whole.reasons) if reason] == [0, 4, len(mixed) - 1]
    monkeypatch.setattr(image, "TOGETHER", 2)
    parts = encoder.encode(mixed)
    assert parts.reasons == whole.reasons
    assert parts.vectors.tobytes() == whole.vectors.tobytes()
    alone = np.concatenate([encoder.encode([content]).vectors for content in mixed])
    assert alone.tobytes() == whole.vectors.tobytes()


def test_histograms_worked_out_by_hand():
    bins = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 1], [2, 2, 0, 1]])
    counts = descriptors._counts(np.stack([bins, bins.T]), 3, 2)
    assert counts[0].tolist() == [[4, 0, 0], [0, 4, 0], [0, 0, 4], [2, 2, 0]]
    assert counts[1].tolist() == [[4, 0, 0], [0, 0, 4], [0, 4, 0], [2, 2, 0]]
    weighted = descriptors._counts(bins[None], 3, 1, np.arange(16.0).reshape(1, 4, 4))
    assert weighted.tolist() == [[[0 + 1 + 4 + 5 + 10 + 14, 2 + 3 + 6 + 7 + 11 + 15, 8 + 9 + 12 + 13]]]
    np.testing.assert_allclose(
        descriptors._roots(counts[:1]) ** 2, [[1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0]], atol=1e-7
    )


def test_colour_bins_of_known_colours():
    colours = np.array([RED, BLUE, WHITE, (0, 0, 0), (128, 128, 128)], np.int64) >> 3
    lab, bins = (table[..., colours @ [1024, 32, 1]].T for table in descriptors._colour_tables())
    assert len(set(bins.tolist())) == 5
    assert (bins[2:] >= descriptors.COLOURS - descriptors.GREYS).all()
    np.testing.assert_allclose(lab[2], [98, 0, 0], atol=2)  # CIE: white has lightness 100, no colour
    np.testing.assert_allclose(lab[4], [53.6, 0, 0], atol=2)
    assert lab[0, 1] > 60
    assert lab[1, 2] < -60


def test_colours_are_counted_in_the_whole_and_in_quarters():
    picture = np.full((1, 24, 24, 3), 255, np.uint8)
    picture[0, :12, :12] = RED
    shares = describe(picture)["colour"].reshape(5, descriptors.COLOURS) ** 2
    assert sorted(shares[0][shares[0] > 0].tolist()) == pytest.approx([0.25, 0.75])
    assert shares[1:].max(axis=1).tolist() == pytest.approx([1, 1, 1, 1])
    assert shares[1].argmax() != shares[2].argmax() == shares[3].argmax() == shares[4].argmax()


def test_moments_worked_out_by_hand(monkeypatch):
    table = np.zeros((3, 32768))
    table[0, 1:3] = 1, 5
    monkeypatch.setattr(descriptors, "_colour_tables", lambda: (table, None))
    codes = np.zeros((2, 6, 6), np.int64)
    codes[1, :2, :2] = [[1, 1], [1, 2]]  # mean 2, variance 3, third moment (27 - 3) / 4 = 6
    found = descriptors._moments(codes, 3).reshape(2, 9, 9)
    np.testing.assert_allclose(found[1, 0], [2, 0, 0, 3**0.5, 0, 0, 6 ** (1 / 3), 0, 0], rtol=1e-6)
    assert not found[1, 1:].any()
    assert not found[0].any()


def test_patterns_are_the_58_uniform_ones_and_the_rest():
    one_each = descriptors._pattern_table()
    assert (one_each.sum(axis=1) == 1).all()
    table = one_each.argmax(axis=1)
    assert sorted(set(table.tolist())) == list(range(59))
    assert (table == 58).sum() == 256 - 58
    assert table[0b00000000] != table[0b11111111] != table[0b00000111] != table[0b00001110]
    assert table[0b01010101] == table[0b00010100] == 58


def test_a_dark_spot_has_all_neighbours_brighter():
    grey = np.full((25, 25), 9, np.uint8)
    grey[3, 3] = 5  # in the first of four cells; of the 23 x 23 inner pixels, 11 x 12 and so on fall into a cell
    shares = descriptors._texture(grey[None], 1).reshape(4, 59) ** 2
    table = descriptors._pattern_table().argmax(axis=1)
    size = 12 * 12
    assert shares[1:, table[255]].tolist() == pytest.approx([1, 1, 1])
    assert shares[0, table[255]] == pytest.approx((size - 8) / size)
    for bit in range(8):  # each neighbour of the spot misses one
        assert shares[0, table[255 ^ (1 << bit)]] == pytest.approx(1 / size)


def test_texture_tells_brighter_to_the_right_from_brighter_below():
    table = descriptors._pattern_table().argmax(axis=1)
    slope = np.tile(np.arange(24, dtype=np.uint8), (24, 1))
    for grey, code in [(slope, 0b00111110), (slope.T, 0b11111000)]:  # of the ring, from the upper left around
        shares = descriptors._texture(np.ascontiguousarray(grey)[None], 3).reshape(4, 59) ** 2
        assert shares[:, table[code]].tolist() == pytest.approx([1, 1, 1, 1])


def test_an_encoder_of_other_descriptors_is_told_apart_from_a_damaged_one(tmp_path, monkeypatch):
    encoder = DescriptorEncoder.fit([saved(drawn("circle", RED, i)) for i in range(3)])
    encoder.save(tmp_path / "now")
    assert DescriptorEncoder.load(tmp_path / "now").revision == encoder.revision
    monkeypatch.setattr(image, "DESCRIPTION", image.DESCRIPTION + 1)
    with pytest.raises(InputError, match="another version of Medley made them; run `medley encode --refit-encoders`"):
        DescriptorEncoder.load(tmp_path / "now")
