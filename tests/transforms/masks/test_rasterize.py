from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.masks.rle import encode_mask

SIZE_HW = (6, 8)
SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]


def runs_of(mask: np.ndarray) -> list[int]:
    """Return column-major run lengths, background first; written as the format defines them."""
    runs, value, length = [], False, 0
    for pixel in mask.T.ravel():
        if bool(pixel) is not value:
            runs.append(length)
            value, length = not value, 0
        length += 1
    return [*runs, length]


def to_mask(segmentation: object, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    return segmentation_to_mask(segmentation, size_hw=size_hw, name="thing 7")


def assert_rejected(segmentation: object, reason: RejectReason, match: str) -> None:
    with pytest.raises(TargetError, match=match) as error:
        to_mask(segmentation)
    assert error.value.reason is reason
    assert "thing 7" in error.value.message


class TestPolygons:
    def test_are_rasterised_as_coco_does(self) -> None:
        mask = to_mask([SQUARE])
        encoded: Any = coco_mask.frPyObjects([SQUARE], *SIZE_HW)  # pyright: ignore
        expected = coco_mask.decode(encoded)[:, :, 0]
        np.testing.assert_array_equal(mask, expected.astype(bool))
        assert mask.dtype == np.bool_
        assert mask.shape == SIZE_HW

    def test_several_are_united(self) -> None:
        parts = [[0, 0, 3, 0, 3, 3, 0, 3], [4, 3, 8, 3, 8, 6, 4, 6]]
        first, second = (to_mask([part]) for part in parts)
        assert (first.sum(), second.sum()) == (9, 12)
        np.testing.assert_array_equal(to_mask(parts), first | second)

    @pytest.mark.parametrize("short", [[], [1, 2], [1, 2, 3, 4]])
    def test_too_few_points_are_left_out_beside_others(self, short: list[int]) -> None:
        np.testing.assert_array_equal(to_mask([short, SQUARE]), to_mask([SQUARE]))

    @pytest.mark.parametrize(
        ("polygons", "match"),
        [
            pytest.param([[1, 2, 3, 4]], "no polygon has three points", id="a line"),
            pytest.param([[1, 2, 3, 4, 5, 6, 7]], "7 numbers", id="odd count"),
            pytest.param([[1, 2, 3, 4, 5, "6"]], "holds '6'", id="text"),
            pytest.param([[1, 2, 3, 4, 5, None]], "holds None", id="null"),
            pytest.param([[1, 2, 3, 4, 5, True]], "holds True", id="bool"),
            pytest.param([[1, 2, 3, 4, 5, math.nan]], "holds nan", id="nan"),
            pytest.param([[1, 2, 3, 4, 5, math.inf]], "holds inf", id="infinite"),
            pytest.param([[1, 2, 3, 4, 5, 1e300]], "1e\\+300", id="would exhaust memory"),
            pytest.param([[1, 2, 3, 4, 5, 10**400]], "malformed", id="no float holds it"),
            pytest.param([1, 2, 3, 4, 5, 6], "list of numbers, got int", id="not nested"),
            pytest.param([SQUARE, {"counts": [48], "size": [6, 8]}], "got dict", id="mixed"),
            pytest.param("text", "got str", id="a text"),
            pytest.param(None, "got NoneType", id="nothing"),
            pytest.param(7, "got int", id="a number"),
        ],
    )
    def test_malformed(self, polygons: object, match: str) -> None:
        assert_rejected(polygons, RejectReason.MALFORMED_SEGMENTATION, match)

    def test_a_huge_image_is_refused_before_memory_is_taken(self) -> None:
        with pytest.raises(TargetError, match="100000 x 100000") as error:
            to_mask([SQUARE], (100_000, 100_000))
        assert error.value.reason is RejectReason.TOO_LARGE

    @pytest.mark.parametrize("size_hw", [(0, 8), (-6, 8), (-6, -8)])
    def test_an_image_of_no_size(self, size_hw: tuple[int, int]) -> None:
        sizes = f"thing 7: .* {size_hw[1]} x {size_hw[0]} pixels"
        with pytest.raises(TargetError, match=sizes) as error:
            to_mask([SQUARE], size_hw)
        assert error.value.reason is RejectReason.MALFORMED_SEGMENTATION

    def test_a_long_way_back_and_forth_is_refused(self) -> None:
        assert_rejected(
            [[0, 0, 90_000, 90_000] * 100],
            RejectReason.MALFORMED_SEGMENTATION,
            "outlines are 18000000 pixels long, expected at most 2000000",
        )

    def test_the_message_on_deep_nesting_is_short(self) -> None:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        assert_rejected(
            [[1, 2, 3, 4, 5, nested]], RejectReason.MALFORMED_SEGMENTATION, "holds .*a list"
        )
        while nested:  # Freed from outside in: the interpreter's own way would recurse.
            nested = nested.pop()

    @pytest.mark.parametrize("segmentation", [[], [[100, 100, 110, 100, 110, 110]]])
    def test_empty(self, segmentation: list[Any]) -> None:
        assert_rejected(segmentation, RejectReason.EMPTY_MASK, "empty|no pixel")


class TestRunLengths:
    @given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
    def test_every_form_gives_the_same_mask(self, mask: np.ndarray) -> None:
        if not mask.any():
            return
        height, width = mask.shape
        text = encode_mask(mask).counts
        for counts in (text, text.encode(), runs_of(mask)):
            content = {"size": [height, width], "counts": counts}
            for segmentation in (content, [content]):
                np.testing.assert_array_equal(to_mask(segmentation, (height, width)), mask)

    def test_size_of_another_image(self) -> None:
        assert_rejected(
            {"size": [8, 6], "counts": [10, 38]}, RejectReason.SIZE_MISMATCH, "6 x 8.*8 x 6"
        )

    def test_a_side_that_python_does_not_write(self) -> None:
        assert_rejected(
            {"size": [10**5000, 8], "counts": [48]}, RejectReason.SIZE_MISMATCH, "a huge number"
        )
        assert_rejected(
            {"size": [10**5000], "counts": [48]},
            RejectReason.MALFORMED_SEGMENTATION,
            "got .a huge number.",
        )

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            pytest.param({}, "size", id="nothing"),
            pytest.param({"size": [6], "counts": [48]}, "size", id="one side"),
            pytest.param({"size": ["6", 8], "counts": [48]}, "size", id="a text as side"),
            pytest.param({"size": [6, 8]}, "counts", id="no counts"),
            pytest.param({"size": [6, 8], "counts": 48}, "got int", id="a number"),
            pytest.param({"size": [6, 8], "counts": [10, 37]}, "47 pixels", id="too few"),
            pytest.param({"size": [6, 8], "counts": [10, 39]}, "49 pixels", id="too many"),
            pytest.param({"size": [6, 8], "counts": [58, -10]}, "whole numbers", id="negative"),
            pytest.param({"size": [6, 8], "counts": [10, 37.5]}, "whole numbers", id="float"),
            pytest.param({"size": [6, 8], "counts": ["10", 38]}, "whole numbers", id="text"),
            pytest.param({"size": [6, 8], "counts": [10**30]}, "covers?", id="astronomic"),
            pytest.param({"size": [6, 8], "counts": ""}, "empty", id="no text"),
            pytest.param({"size": [6, 8], "counts": "o"}, "not compressed", id="goes on nowhere"),
            pytest.param({"size": [6, 8], "counts": "oooooooooooo0"}, "impossible", id="long"),
            pytest.param({"size": [6, 8], "counts": "é"}, "ASCII", id="no ASCII"),
            pytest.param({"size": [6, 8], "counts": b"\xff\xfe"}, "ASCII", id="no ASCII bytes"),
            pytest.param({"size": [6, 8], "counts": "\x00"}, "not compressed", id="NUL"),
            pytest.param({"size": [6, 8], "counts": "00"}, "0 pixels", id="covers nothing"),
        ],
    )
    def test_malformed(self, content: dict[str, Any], match: str) -> None:
        assert_rejected(content, RejectReason.MALFORMED_SEGMENTATION, match)

    def test_empty(self) -> None:
        assert_rejected({"size": [6, 8], "counts": [48]}, RejectReason.EMPTY_MASK, "no pixel")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


class TestHostileInput:
    @settings(max_examples=300)
    @given(JSON_VALUES)
    def test_any_json_gives_a_mask_or_a_reject(self, segmentation: object) -> None:
        self._assert_mask_or_reject(segmentation)

    @settings(max_examples=500)
    @given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
    def test_any_compressed_text(self, counts: str) -> None:
        self._assert_mask_or_reject({"size": list(SIZE_HW), "counts": counts})

    @settings(max_examples=300)
    @given(st.lists(st.integers(-3, 60), max_size=8))
    def test_any_counts(self, counts: list[int]) -> None:
        self._assert_mask_or_reject({"size": list(SIZE_HW), "counts": counts})

    @settings(max_examples=300)
    @given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=10), max_size=4))
    def test_any_polygons(self, polygons: list[list[float]]) -> None:
        self._assert_mask_or_reject(polygons)

    def _assert_mask_or_reject(self, segmentation: object) -> None:
        try:
            mask = to_mask(segmentation)
        except TargetError:
            return
        assert mask.shape == SIZE_HW
        assert mask.dtype == np.bool_
        assert mask.any()


def test_polygons_in_parts_of_the_sides() -> None:
    square = [0.1, 0.1, 0.5, 0.1, 0.5, 0.5]
    with pytest.raises(TargetError, match=r"between 0 and 1, as parts .*multiply x by the width"):
        segmentation_to_mask([square], size_hw=(90, 120), name="t")
