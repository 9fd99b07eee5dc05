from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, RejectReason
from hlmat.transforms.masks.rle import mask_box
from hlmat.transforms.readers.files.labelme import Canvas, draw_shapes
from reader_fixtures import mask_image

SIZE_HW = (90, 120)


def draw(kind: str | None, points: list[Any], canvas: Canvas | None = None, **more: object) -> Mask:
    shape = {"shape_type": kind, "points": points, **more}
    return draw_shapes([shape], canvas or Canvas(SIZE_HW), name="a")


@pytest.mark.parametrize(
    ("kind", "points", "box", "area"),
    [
        # Areas as drawn by Pillow 12 with labelme's widths; polygons by pycocotools.
        ("polygon", [[20, 20], [60, 20], [60, 60], [20, 60]], Box(20, 20, 60, 60), 1600),
        (None, [[20, 20], [60, 20], [60, 60], [20, 60]], Box(20, 20, 60, 60), 1600),
        ("rectangle", [[70, 30], [110, 80]], Box(70, 30, 110, 80), 2000),
        ("rectangle", [[110, 80], [70, 30]], Box(70, 30, 110, 80), 2000),
        ("circle", [[40, 40], [60, 40]], Box(20, 20, 61, 61), 1313),
        ("line", [[20, 40], [60, 40]], Box(20, 36, 61, 46), 410),
        ("linestrip", [[20, 40], [60, 40]], Box(20, 36, 61, 46), 410),
        ("point", [[40, 40]], Box(35, 35, 46, 46), 97),
        ("points", [[40, 40], [80, 40]], Box(35, 35, 86, 46), 194),
    ],
)
def test_each_type_of_shape(kind: str | None, points: list[list[int]], box: Box, area: int) -> None:
    mask = draw(kind, points)
    assert mask.shape == SIZE_HW
    assert (mask_box(mask), int(mask.sum())) == (box, area)


def test_a_mask_is_pasted_into_its_box() -> None:
    text = base64.b64encode(mask_image((6, 8))).decode()
    mask = draw("mask", [[20, 30], [27, 35]], mask=text)
    assert mask_box(mask) == Box(22, 31, 26, 34)
    # What lies outside of the image is cut off.
    assert mask_box(draw("mask", [[-3, 86], [4, 91]], mask=text)) == Box(0, 87, 3, 90)


def test_shapes_are_united() -> None:
    square = {"points": [[20, 20], [60, 20], [60, 60], [20, 60]]}
    other = {"points": [[70, 30], [110, 80]], "shape_type": "rectangle"}
    dot = {"points": [[10, 10]], "shape_type": "point"}
    assert draw_shapes([square, other, dot], Canvas(SIZE_HW), name="a").sum() == 1600 + 2000 + 97


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "circle", "line", "point", "mask"])
def test_shapes_of_an_image_of_twice_the_size(kind: str) -> None:
    text = base64.b64encode(mask_image((80, 80))).decode()
    points: dict[str, Any] = {
        "polygon": [[40, 40], [120, 40], [120, 120], [40, 120]],
        "rectangle": [[40, 40], [120, 120]],
        "circle": [[80, 80], [120, 80]],
        "line": [[40, 80], [120, 80]],
        "point": [[80, 80]],
        "mask": [[40, 40], [119, 119]],
    }
    at_once = draw(kind, points[kind], Canvas((180, 240)), mask=text)
    scaled = draw(kind, points[kind], Canvas(SIZE_HW, (0.5, 0.5)), mask=text)
    assert scaled.shape == SIZE_HW
    assert math.isclose(scaled.sum() * 4, at_once.sum(), rel_tol=0.3)
    assert np.logical_and(scaled, at_once[::2, ::2]).sum() >= 0.9 * at_once[::2, ::2].sum()


@pytest.mark.parametrize(
    ("kind", "points", "more", "problem"),
    [
        ("polygon", [[1, 1], [2, 2]], {}, "no polygon has three points"),
        ("rectangle", [[1, 1]], {}, "a rectangle has 1 points, expected 2"),
        ("circle", [[1, 1]], {}, "a circle has 1 points, expected 2"),
        ("line", [[1, 1]], {}, "a line has 1 points, expected 2"),
        ("linestrip", [[1, 1]], {}, "a shape of the type 'linestrip' with 1 points"),
        ("point", [], {}, "a point has 0 points, expected 1"),
        ("cuboid", [[1, 1]], {}, "a shape of the type 'cuboid' with 1 points; known types are pol"),
        ([], None, {}, "a shape has no list of points"),
        ("polygon", [[1, 1], [2, "2"]], {}, "is not a point"),
        ("polygon", [[1, 1], [2, math.nan]], {}, "is not a point"),
        ("circle", [[1, 1], [2, 1e9]], {}, "is not a point"),
        ("mask", [[1, 1], [2, 2]], {}, "a mask cannot be read"),
        ("mask", [[1, 1], [2, 2]], {"mask": "é"}, "a mask is not base64"),
        ("mask", [[1, 1], [2, 2]], {"mask": 7}, "a mask is not base64"),
        (
            "mask",
            [[1, 1], [2, 2]],
            {"mask": base64.b64encode(mask_image((6, 8))).decode()},
            "a mask of 8 x 6 pixels for a box of 2 x 2",
        ),
    ],
)
def test_malformed_shapes(kind: Any, points: Any, more: dict[str, object], problem: str) -> None:
    with pytest.raises(TargetError, match=problem) as caught:
        draw(kind, points, None, **more)
    assert caught.value.reason is RejectReason.MALFORMED_SEGMENTATION


def test_shapes_outside_of_the_image() -> None:
    with pytest.raises(TargetError, match="has no pixel") as caught:
        draw("point", [[500, 500]])
    assert caught.value.reason is RejectReason.EMPTY_MASK


NUMBERS = st.floats() | st.integers(-(10**6), 10**6)


@given(
    st.sampled_from(["polygon", "rectangle", "circle", "line", "linestrip", "point", "mask", "x"]),
    st.lists(st.lists(NUMBERS, max_size=3) | st.none(), max_size=4),
)
def test_any_shape_is_drawn_or_refused(kind: str, points: list[Any]) -> None:
    try:
        mask = draw(kind, points, Canvas((6, 8)))
    except TargetError:
        return
    assert mask.shape == (6, 8)
    assert mask.any()
