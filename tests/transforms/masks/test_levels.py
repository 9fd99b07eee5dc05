"""Which object a mask image shows: two levels, soft borders, JPEG, and what is refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFilter

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.images import MaskRule, decode_levels, decode_mask_image

BOX = np.s_[20:60, 30:70]
SIZE = (120, 90)


def grey(*areas: tuple[Any, int], background: int = 0) -> np.ndarray:
    values = np.full(SIZE[::-1], background, np.uint8)
    for place, level in areas:
        values[place] = level
    return values


def encode(image: PilImage.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def palette(values: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> bytes:
    image = PilImage.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    table = [channel for index in range(256) for channel in colours.get(index, (0, 0, 0))]
    image.putpalette(table)
    return encode(image)


def read(data: bytes, rule: MaskRule = MaskRule.TWO_LEVELS) -> np.ndarray:
    return decode_mask_image(data, name="masks/a.png", rule=rule).truth


def problem(data: bytes) -> str:
    with pytest.raises(TargetError) as error:
        read(data)
    assert error.value.reason is RejectReason.AMBIGUOUS_MASK
    return error.value.message


def drawn(scale: int = 1, level: int = 255) -> PilImage.Image:
    image = PilImage.new("L", (160 * scale, 120 * scale))
    draw = ImageDraw.Draw(image)
    draw.ellipse([20 * scale, 15 * scale, 90 * scale, 75 * scale], fill=level)
    draw.line([5 * scale, 100 * scale, 150 * scale, 110 * scale], fill=level, width=2 * scale)
    return image


@given(level=st.integers(1, 255), is_wide=st.booleans())
def test_of_two_levels_the_one_that_is_not_0_is_the_object(level: int, *, is_wide: bool) -> None:
    values = grey((BOX, level))
    data = encode(PilImage.fromarray(values.astype(np.uint16) * 257 if is_wide else values))
    np.testing.assert_array_equal(read(data), values > 0)


def test_a_mask_without_black_is_split_at_half_of_the_range() -> None:
    np.testing.assert_array_equal(
        read(encode(PilImage.fromarray(grey((BOX, 200), background=10)))), grey((BOX, 1)) > 0
    )


@pytest.mark.parametrize("levels", [(1, 2), (200, 255), (50, 100)])
def test_two_levels_on_one_side_are_no_object_and_background(levels: tuple[int, int]) -> None:
    dark, bright = levels
    message = problem(encode(PilImage.fromarray(grey((BOX, bright), background=dark))))
    assert (
        f"has 2 levels, not one object on a background: {dark}: 9,200 px, {bright}: 1,600 px"
        in (message)
    )


@pytest.mark.parametrize(
    ("areas", "listed"),
    [
        pytest.param([(BOX, 13), (np.s_[70:80], 140)], "0: 8,000 px, 13: 1,600 px, 140: 1,200 px"),
        pytest.param([(np.s_[18:62, 28:72], 255), (BOX, 1)], "1: 1,600 px, 255: 336 px"),
        pytest.param([(np.s_[18:62, 28:72], 128), (BOX, 255)], "128: 336 px, 255: 1,600 px"),
        pytest.param([(BOX, 255), (np.s_[70:73, 5:8], 7)], "7: 9 px, 255: 1,600 px"),
    ],
    ids=["classes", "void around an object", "a band of a middle value", "a small area"],
)
def test_more_than_two_levels_are_listed(areas: list, listed: str) -> None:
    message = problem(encode(PilImage.fromarray(grey(*areas))))
    assert listed in message
    assert "--mask-values classes or --mask-values instances" in message


def test_the_message_proposes_a_level_and_the_usual_void() -> None:
    data = encode(PilImage.fromarray(grey((np.s_[18:62, 28:72], 255), (BOX, 1))))
    assert "--mask-values object=1,void=255" in problem(data)


def test_many_levels_are_listed_by_size() -> None:
    values = np.repeat(np.arange(30, dtype=np.uint8)[:, None] * 8, 40, axis=1).repeat(5, axis=0)
    message = problem(encode(PilImage.fromarray(values)))
    assert message.startswith("masks/a.png has 30 levels")
    assert "and 22 more; name" in message


def test_palette_indices_are_listed_with_their_colours() -> None:
    values = grey((BOX, 8), (np.s_[70:80], 1))
    data = palette(values, {1: (128, 0, 0), 8: (64, 0, 0)})
    assert "0 (#000000): 8,000 px, 1 (#800000): 1,200 px, 8 (#400000): 1,600 px" in problem(data)


def test_colours_are_listed_as_colours() -> None:
    values = np.zeros((90, 120, 3), np.uint8)
    values[BOX] = (192, 0, 0)
    values[70:80] = (0, 192, 0)
    message = problem(encode(PilImage.fromarray(values)))
    assert "#000000: 8,000 px, #00C000: 1,200 px, #C00000: 1,600 px" in message
    assert "--mask-values object=#00C000" in message


@pytest.mark.parametrize(
    "colours",
    [
        pytest.param({1: (64, 0, 0)}, id="dark"),
        pytest.param({0: (120, 120, 120), 1: (180, 120, 120)}, id="no black"),
        pytest.param({0: (90, 0, 0), 1: (0, 90, 0)}, id="equally bright"),
        pytest.param({}, id="no colours"),
    ],
)
def test_a_palette_of_two_levels(colours: dict[int, tuple[int, int, int]]) -> None:
    values = grey((BOX, 1))
    np.testing.assert_array_equal(read(palette(values, colours)), values > 0)


def test_black_of_a_palette_is_the_background_whatever_its_index() -> None:
    data = palette(grey((BOX, 1)), {0: (255, 255, 255)})
    assert np.count_nonzero(read(data)) == 9200


@pytest.mark.parametrize("level", [255, 100, 13])
@pytest.mark.parametrize("method", ["LANCZOS", "BICUBIC", "BOX", "BILINEAR"])
def test_smooth_borders_are_cut_halfway(level: int, method: str) -> None:
    smooth = drawn(4, level).resize((160, 120), PilImage.Resampling[method])
    expected = np.asarray(drawn(4, level).resize((160, 120), PilImage.Resampling.BOX)) > level / 2
    truth = read(encode(smooth))
    assert np.count_nonzero(truth != expected) < 0.03 * np.count_nonzero(expected)


def test_smooth_borders_of_one_colour() -> None:
    strength = np.asarray(drawn(4).resize((160, 120), PilImage.Resampling.BOX)).astype(float) / 255
    values = np.rint(strength[..., None] * (255, 128, 0)).astype(np.uint8)
    np.testing.assert_array_equal(read(encode(PilImage.fromarray(values))), strength >= 0.5)


@pytest.mark.parametrize("radius", [1, 3])
def test_blurred_masks(radius: int) -> None:
    blurred = drawn().filter(ImageFilter.GaussianBlur(radius))
    np.testing.assert_array_equal(read(encode(blurred)), np.asarray(blurred) > 127)


def test_a_soft_area_is_an_object_only_where_the_data_set_is_known() -> None:
    values = np.asarray(drawn(4).resize((160, 120), PilImage.Resampling.BOX)).copy()
    values[20:60, 110:150] = np.arange(100, 140)
    values[65:95, 110:150] = 160
    data = encode(PilImage.fromarray(values))
    problem(data)
    np.testing.assert_array_equal(read(data, MaskRule.FOREGROUND), values > 127)


@pytest.mark.parametrize("level", [255, 200, 100, 40, 20])
@pytest.mark.parametrize("quality", [95, 75, 50, 20])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_ringing_of_a_jpeg_is_no_object(level: int, quality: int, mode: str) -> None:
    values = grey((BOX, level))
    image = PilImage.fromarray(values).convert(mode)
    truth = read(encode(image, "JPEG", quality=quality))
    wrong = np.count_nonzero(truth != (values > 0))
    # What is as faint as its noise has a ragged border.
    assert wrong <= (0 if quality >= 75 else 40 if level >= 40 else 120)


def test_a_red_object_in_a_jpeg() -> None:
    values = np.zeros((90, 120, 3), np.uint8)
    values[BOX] = (230, 20, 20)
    truth = read(encode(PilImage.fromarray(values), "JPEG", quality=90))
    assert np.count_nonzero(truth != (grey((BOX, 1)) > 0)) < 120


@pytest.mark.parametrize("top", [1, 3])
def test_a_faint_jpeg(top: int) -> None:
    values = grey((np.s_[16:64, 32:72], top))
    truth = read(encode(PilImage.fromarray(values), "JPEG", quality=95))
    np.testing.assert_array_equal(truth, values > 0)


def test_a_line_in_a_jpeg_is_not_lost() -> None:
    values = grey((np.s_[40:41, 5:110], 255))
    truth = read(encode(PilImage.fromarray(values), "JPEG", quality=90))
    np.testing.assert_array_equal(truth, values > 0)


def test_classes_in_a_jpeg_are_refused_by_their_levels() -> None:
    values = grey((BOX, 120), (np.s_[66:88, 4:116], 240))
    message = problem(encode(PilImage.fromarray(values), "JPEG", quality=90))
    assert message.startswith("masks/a.png has 3 levels, not one object on a background: 0: ")
    assert "120: 1," in message


@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (2, 5), (8, 15), (7, 20), (100, 110), (250, 255)])
def test_numbers_of_classes_in_a_jpeg_are_refused(pair: tuple[int, int]) -> None:
    values = grey((BOX, pair[0]), (np.s_[66:88, 4:116], pair[1]))
    for quality in (95, 85):
        problem(encode(PilImage.fromarray(values), "JPEG", quality=quality))


def test_colours_in_a_jpeg_are_refused() -> None:
    values = np.zeros((90, 120, 3), np.uint8)
    values[BOX] = (255, 0, 0)
    values[62:88, 4:60] = (0, 255, 0)
    assert "has 3 levels" in problem(encode(PilImage.fromarray(values), "JPEG", quality=95))


def test_a_soft_mask_tinted_by_a_jpeg_and_resized_is_read_as_grey() -> None:
    soft = np.asarray(drawn(2).filter(ImageFilter.GaussianBlur(4)), np.int16)
    tint = np.random.default_rng(1).integers(-12, 13, (*soft.shape, 3))
    edge = (soft > 8) & (soft < 247)
    tinted = np.clip(soft[..., None] + tint * edge[..., None], 0, 255).astype(np.uint8)
    truth = read(encode(PilImage.fromarray(tinted)), MaskRule.FOREGROUND)
    assert np.count_nonzero(truth != (soft > 127)) < 0.02 * np.count_nonzero(soft > 127)


@pytest.mark.parametrize("level", [255, 100])
@pytest.mark.parametrize("quality", [90, 75, 50])
def test_a_jpeg_saved_as_png_again_is_read_too(level: int, quality: int) -> None:
    for values in (grey((BOX, level)), np.asarray(drawn(level=level))):
        jpeg = PilImage.open(
            io.BytesIO(encode(PilImage.fromarray(values), "JPEG", quality=quality))
        )
        wrong = np.count_nonzero(read(encode(jpeg)) != (values > 0))
        assert wrong <= (2 if quality >= 75 else 40)


@pytest.mark.parametrize(
    ("kind", "options", "is_lossy"),
    [
        ("PNG", {}, False),
        ("JPEG", {}, True),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"quality": 70}, True),
        ("JPEG2000", {"irreversible": False}, False),
        ("JPEG2000", {"irreversible": True}, True),
        ("TIFF", {"compression": "jpeg"}, True),
        ("TIFF", {"compression": "tiff_lzw"}, False),
    ],
)
def test_files_whose_compression_changes_values(
    kind: str, options: dict[str, object], *, is_lossy: bool
) -> None:
    data = encode(PilImage.fromarray(grey((BOX, 255))), kind, **options)
    assert decode_levels(data, name="a").is_lossy is is_lossy


@given(st.data())
def test_a_map_of_solid_classes_is_never_read_as_one_object(data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(1, 255), min_size=2, max_size=5, unique=True))
    values = np.zeros((40, 60), np.uint8)
    for number, code in enumerate(codes):
        values[5:35, number * 11 + 2 : number * 11 + 12] = code
    problem(encode(PilImage.fromarray(values)))


@given(st.data())
def test_a_truth_has_the_size_of_its_image(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    raw = data.draw(st.binary(min_size=height * width, max_size=height * width))
    values = np.frombuffer(raw, np.uint8).reshape(height, width)
    kind = data.draw(st.sampled_from(["PNG", "JPEG"]))
    with contextlib.suppress(TargetError):
        truth = read(encode(PilImage.fromarray(values), kind))
        assert truth.shape == (height, width)
        assert truth.dtype == np.bool_


def test_void_of_any_width_around_an_object_is_seen() -> None:
    for width in (2, 3, 5):
        values = grey((BOX, 15))
        around = cv2.dilate(values, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
        values[(around > 0) & (values == 0)] = 255
        assert "--mask-values object=15,void=255" in problem(encode(PilImage.fromarray(values)))
