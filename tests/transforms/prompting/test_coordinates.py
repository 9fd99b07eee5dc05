"""Codecs are exact inverses at their own resolution, and stay in the image."""

from __future__ import annotations

import ast
import importlib.util
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.coordinates import CODECS, CoordinateCodec, Order, build_codec
from hlmat.transforms.prompting.resizes import SmartResize

ALL_CODECS = [
    build_codec(name, order=order, resize=SmartResize())
    for name in CODECS
    for order in ("xy", "row_column")
] + [build_codec("decimal", digits=2), build_codec("pixels"), build_codec("decimal", digits=6)]

codecs = st.sampled_from(ALL_CODECS)
FINE = [name for name in CODECS if name != "pixels"]
"""Codecs that number an axis by at least 1000."""


@st.composite
def pixels(draw: st.DrawFn, max_side: int = 6000) -> tuple[int, int, tuple[int, int]]:
    height = draw(st.integers(1, max_side))
    width = draw(st.integers(1, max_side))
    assume(max(height, width) <= 200 * min(height, width))
    edge_or_any = [st.sampled_from([0, n - 1]) | st.integers(0, n - 1) for n in (width, height)]
    return draw(edge_or_any[0]), draw(edge_or_any[1]), (height, width)


@given(codecs, pixels())
def test_rendering_what_was_parsed_gives_the_same_text(
    codec: CoordinateCodec, pixel: tuple[int, int, tuple[int, int]]
) -> None:
    x, y, size_hw = pixel
    text = codec.render(x, y, size_hw=size_hw)
    again_x, again_y = codec.parse(text, size_hw=size_hw)
    assert 0 <= again_x < size_hw[1]
    assert 0 <= again_y < size_hw[0]
    assert codec.render(again_x, again_y, size_hw=size_hw) == text


@pytest.mark.parametrize("name", FINE)
@given(pixel=pixels(max_side=1000))
@example(pixel=(999, 499, (500, 1000)))
def test_an_image_no_finer_than_the_codec_keeps_every_pixel(
    name: str, pixel: tuple[int, int, tuple[int, int]]
) -> None:
    x, y, size_hw = pixel
    codec = build_codec(name)
    assert codec.parse(codec.render(x, y, size_hw=size_hw), size_hw=size_hw) == (x, y)


@pytest.mark.parametrize("length", [1, 2, 3, 333, 999, 1000])
@pytest.mark.parametrize("name", FINE)
def test_every_pixel_of_a_line_survives(name: str, length: int) -> None:
    codec = build_codec(name)
    for x in range(length):
        assert codec.parse(codec.render(x, 0, size_hw=(1, length)), size_hw=(1, length)) == (x, 0)


@pytest.mark.parametrize("name", ["thousandths", "thousandths_inclusive"])
@pytest.mark.parametrize("length", [1001, 1024, 2658, 5999])
def test_every_value_survives_in_a_finer_image(name: str, length: int) -> None:
    codec = build_codec(name)
    for value in range(1000):
        text = f"({value}, {value})"
        x, y = codec.parse(text, size_hw=(length, length))
        assert codec.render(x, y, size_hw=(length, length)) == text


@given(pixels())
def test_pixels_without_a_resize_are_the_image_s_own(
    pixel: tuple[int, int, tuple[int, int]],
) -> None:
    x, y, size_hw = pixel
    assert build_codec("pixels").render(x, y, size_hw=size_hw) == f"({x}, {y})"
    assert build_codec("pixels").parse(f"({x}, {y})", size_hw=size_hw) == (x, y)


@pytest.mark.parametrize(
    ("name", "order", "text"),
    [
        ("decimal", "xy", "(0.999, 0.000)"),
        ("decimal", "row_column", "(0.000, 0.999)"),
        ("thousandths", "xy", "(999, 0)"),
        ("thousandths_inclusive", "row_column", "(0, 999)"),
        ("zero_to_1000", "xy", "(1000, 0)"),
        ("decimal_inclusive", "xy", "(1.000, 0.000)"),
        ("pixels", "xy", "(2043, 0)"),
        ("pixels", "row_column", "(0, 2043)"),
    ],
)
def test_the_corner_is_written_as_expected(name: str, order: Order, text: str) -> None:
    codec = build_codec(name, order=order, resize=SmartResize(max_pixels=10**7))
    assert codec.render(2047, 0, size_hw=(1536, 2048)) == text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("decimal", "(1, 0.5)", "x is 1, expected 0.000 to 0.999"),
        ("decimal", "(0.5, -0.0001)", "y is -0.0001, expected 0.000 to 0.999"),
        ("decimal", "(0.5, .5)", "'.5' is not a decimal number"),
        ("thousandths", "(0, 1000)", "y is 1000, expected 0 to 999"),
        ("thousandths", "(-1, 0)", "x is -1, expected 0 to 999"),
        ("thousandths", "(0.5, 0)", "'0.5' is not a whole number"),
        ("thousandths", "(5, 5, 5)", "is not a pair of numbers in round brackets"),
        ("thousandths", "(٣, 5)", "is not a whole number"),
        ("thousandths", "(1" + "0" * 5000 + ", 5)", "is not a whole number"),
        ("thousandths_inclusive", "(1000, 5)", "x is 1000, expected 0 to 999"),
        ("zero_to_1000", "(1001, 5)", "x is 1001, expected 0 to 1000"),
        ("decimal_inclusive", "(1.001, 0.5)", "x is 1.001, expected 0.000 to 1.000"),
        ("decimal_inclusive", "(1.0009, 1.0009)", "x is 1.0009, expected 0.000 to 1.000"),
        ("decimal_inclusive", "(0.5, 1.000000000000000001)", "y is 1.000000000000000001, exp"),
        ("decimal_inclusive", "(-0.0, 0.5)", "x is -0.0, expected 0.000 to 1.000"),
        ("thousandths", "(-0, -0)", "x is -0, expected 0 to 999"),
        ("zero_to_1000", "(0, -00)", "y is -00, expected 0 to 1000"),
        ("pixels", "(-0, 0)", "x is -0, expected 0 to 643"),
        ("pixels", "(0, 476)", "y is 476, expected 0 to 475"),
    ],
)
def test_what_is_no_pair_in_range_is_refused(name: str, text: str, message: str) -> None:
    codec = build_codec(name, resize=SmartResize())
    with pytest.raises(ValueError, match=message):
        codec.parse(text, size_hw=(480, 640))


def test_the_message_names_the_row() -> None:
    with pytest.raises(ValueError, match="row is 1000, expected 0 to 999"):
        build_codec("thousandths", order="row_column").parse("(1000, 5)", size_hw=(480, 640))


def test_a_pixel_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(640, 0\) is outside the image of 640 x 480 pixels"):
        build_codec("decimal").render(640, 0, size_hw=(480, 640))


def test_decimals_of_another_length_are_read() -> None:
    codec = build_codec("decimal")
    assert codec.parse("(0.5, 0.25)", size_hw=(1000, 1000)) == (500, 250)
    assert codec.parse("(0.5009, 0)", size_hw=(1000, 1000)) == (500, 0)


@pytest.mark.parametrize(("name", "far"), [("zero_to_1000", "1000"), ("decimal_inclusive", "1")])
def test_the_far_edge_is_the_last_pixel(name: str, far: str) -> None:
    codec = build_codec(name)
    assert codec.pixel(far, far, size_hw=(480, 640)) == (639, 479)
    assert codec.pixel("0", far, size_hw=(1, 1)) == (0, 0)


def test_zeros_after_the_far_edge_are_read() -> None:
    codec = build_codec("decimal_inclusive")
    assert codec.pixel("1.000000", "0.9999", size_hw=(480, 640)) == (639, 479)


@given(pixels(), st.integers(0, 1000))
def test_a_thousandth_of_the_side_is_the_pixel_that_qwen3_vl_means(
    pixel: tuple[int, int, tuple[int, int]], value: int
) -> None:
    """Their cookbook takes int(value / 1000 * width), which may be the far edge itself."""
    _, _, size_hw = pixel
    x, _ = build_codec("zero_to_1000").pixel(str(value), "0", size_hw=size_hw)
    assert x == min(value * size_hw[1] // 1000, size_hw[1] - 1)


def test_all_that_is_wrong_with_a_codec_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build_codec("decimals", order="yx", digits=0)  # pyright: ignore[reportArgumentType]
    assert caught.value.problems == (
        "coordinate codec 'decimals' is unknown; did you mean 'decimal'? choose from decimal, "
        "thousandths, thousandths_inclusive, zero_to_1000, decimal_inclusive, pixels",
        "coordinate order 'yx' is unknown; choose from xy, row_column",
        "coordinates need 1 to 9 decimals, got 0",
    )


def test_codecs_describe_themselves_and_travel() -> None:
    codec = build_codec("pixels", order="row_column", resize=SmartResize(factor=32))
    assert codec.description == "(row, column) in pixels"
    assert pickle.loads(pickle.dumps(codec)) == codec


@pytest.fixture(scope="module")
def processor_resize() -> Callable[..., tuple[int, int]]:
    """The function of the installed processor, without the torch that its module imports."""
    package = importlib.util.find_spec("transformers")
    if package is None or package.origin is None:
        pytest.skip("transformers is not installed")
    path = Path(package.origin).parent / "models/qwen2_vl/image_processing_qwen2_vl.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "smart_resize"
    ]
    names: dict[str, Any] = {"math": math}
    exec(compile(tree, str(path), "exec"), names)
    return names["smart_resize"]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([28, 32]))
def test_smart_resize_is_the_processor_s(
    processor_resize: Callable[..., tuple[int, int]], height: int, width: int, factor: int
) -> None:
    assume(max(height, width) <= 200 * min(height, width))
    bounds = {"min_pixels": 4 * factor**2, "max_pixels": 1280 * factor**2}
    theirs = processor_resize(height, width, factor=factor, **bounds)
    assert SmartResize(factor=factor, **bounds)((height, width)) == theirs
    assert SmartResize()((height, width)) == processor_resize(height, width)


def test_smart_resize_refuses_ribbons() -> None:
    with pytest.raises(ValueError, match="3000 x 10 pixels has an aspect ratio of 300"):
        SmartResize()((10, 3000))
