from __future__ import annotations

import pytest

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.readers.files.frames import Fit, drawn_size, fit_of
from reader_fixtures import memory, turned_image

WIDE, HIGH = (6, 10), (10, 6)


@pytest.mark.parametrize(
    ("segmentations", "fit"),
    [
        ([], Fit.EITHER),
        ([[[1, 1, 5, 1, 5, 5]]], Fit.EITHER),
        ([[[1, 1, 9, 1, 9, 5]]], Fit.RECORDED),
        ([[[1, 1, 5, 1, 5, 9]]], Fit.SWAPPED),
        # A pixel beyond the border is no proof.
        ([[[1, 1, 7, 1, 7, 7]]], Fit.EITHER),
        ([[[1, 1, 5, 1, 5, 9]], [[1, 1, 9, 1, 9, 5]]], Fit.EITHER),
        ([[[1, 1, 5, 1, 5, 5], [0, 0, 9, 0, 9, 5]]], Fit.RECORDED),
        ([{"size": [6, 10], "counts": "x"}], Fit.RECORDED),
        ([{"size": [10.0, 6], "counts": [60]}], Fit.SWAPPED),
        ([None, 3, "x", [[]], [["a", 1]], [[1]], {"size": 3}, {}], Fit.EITHER),
    ],
)
def test_what_shapes_say_of_the_size(segmentations: list[object], fit: Fit) -> None:
    assert fit_of(segmentations, WIDE) is fit


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("orientation", "recorded", "fit", "expected"),
    [
        (1, WIDE, Fit.EITHER, WIDE),
        (1, WIDE, Fit.SWAPPED, WIDE),
        # The stored image is 10 wide, the turned one 6.
        (6, WIDE, Fit.RECORDED, WIDE),
        (6, WIDE, Fit.SWAPPED, HIGH),
        (6, HIGH, Fit.EITHER, HIGH),
        (8, HIGH, Fit.RECORDED, HIGH),
        (5, HIGH, Fit.SWAPPED, WIDE),
        # Loading the image will say that the size is another.
        (3, (7, 7), Fit.EITHER, (7, 7)),
    ],
)
def test_the_size_that_shapes_were_drawn_at(
    kind: str, orientation: int, recorded: tuple[int, int], fit: Fit, expected: tuple[int, int]
) -> None:
    storage = memory({"a": turned_image(WIDE, orientation, kind)})
    assert drawn_size(storage, "data", "a", recorded_hw=recorded, fit=fit) == expected


@pytest.mark.parametrize(
    ("orientation", "size_hw", "fit"),
    [
        (6, WIDE, Fit.EITHER),
        (3, WIDE, Fit.RECORDED),
        (2, WIDE, Fit.EITHER),
        (6, (8, 8), Fit.EITHER),
    ],
)
def test_what_cannot_be_told(orientation: int, size_hw: tuple[int, int], fit: Fit) -> None:
    storage = memory({"a": turned_image(size_hw, orientation)})
    with pytest.raises(TargetError, match=rf"a is turned by its EXIF tag.*{orientation}") as caught:
        drawn_size(storage, "data", "a", recorded_hw=size_hw, fit=fit)
    assert caught.value.reason is RejectReason.SIZE_MISMATCH


def test_an_image_that_cannot_be_read_is_left_to_its_loading() -> None:
    storage = memory({"a": b"no image"})
    for path in ("a", "b"):
        assert drawn_size(storage, "data", path, recorded_hw=WIDE, fit=Fit.SWAPPED) == WIDE
