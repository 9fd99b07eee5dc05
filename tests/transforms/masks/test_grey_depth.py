"""Greys of 10, 12 and 14 bit in files of 16: neither black nor washed out."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.masks.grey_depth import Depth, png_depth, usual_top
from hlmat.transforms.masks.images import decode_image


def grey(top: int, *, file: str = "PNG") -> bytes:
    values = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, file)
    return stream.getvalue()


def with_significant_bits(png: bytes, *bits: int) -> bytes:
    content = b"sBIT" + bytes(bits)
    chunk = struct.pack(">I", len(bits)) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize("file", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535])
def test_the_range_of_the_values_becomes_the_range_of_the_image(top: int, file: str) -> None:
    image = decode_image(grey(top, file=file), name="a")
    assert (image[0, 0].tolist(), image[-1, -1].tolist()) == ([0, 0, 0], [255, 255, 255])


def test_the_depth_that_a_file_names_counts() -> None:
    named = with_significant_bits(grey(1000), 12)
    assert png_depth(named) == Depth(16, 12)
    assert decode_image(named, name="a").max() == round(1000 * 255 / 4095)
    dark = with_significant_bits(grey(1000), 16)
    assert decode_image(dark, name="a").max() == round(1000 * 255 / 65535)


def test_values_beyond_the_named_depth_show_that_it_was_scaled() -> None:
    assert decode_image(with_significant_bits(grey(65535), 12), name="a").max() == 255


def test_black_stays_black() -> None:
    assert decode_image(grey(0), name="a").max() == 0


@given(st.integers(0, 65535), st.none() | st.integers(1, 16))
def test_white_is_never_darker_than_the_brightest_value(value: int, bits: int | None) -> None:
    assert usual_top(value, used_bits=bits) >= value


@pytest.mark.parametrize("cut", [0, 10, 33, 40, 41])
def test_a_header_that_breaks_off_names_nothing(cut: int) -> None:
    depth = png_depth(with_significant_bits(grey(9), 12)[:cut])
    assert depth in (None, Depth(16, None))


@given(st.binary(max_size=80))
def test_any_chunks_after_a_signature_are_read(data: bytes) -> None:
    depth = png_depth(b"\x89PNG\r\n\x1a\n" + data)
    if depth is not None and depth.used is not None:
        assert 1 <= depth.used <= depth.stored


def test_colours_of_twelve_bit_are_refused() -> None:
    values = np.full((4, 4, 3), 4000, np.uint16)
    png = cv2.imencode(".png", values)[1].tobytes()
    with pytest.raises(TargetError) as caught:
        decode_image(png, name="a.png")
    assert caught.value.message == (
        "a.png stores colours with 16 bit, but none above 4,095 of 65,535, so that the image would "
        "be nearly black; scale it to 16 bit, or save it with 8 bit"
    )
    bright = cv2.imencode(".png", values * 16)[1].tobytes()
    assert decode_image(bright, name="a.png").max() == 250
