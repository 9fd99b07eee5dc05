"""Zooming in on the object: the part of the image that SimpleClick sees, and clicks in it.

The crop is kept from click to click until it no longer fits the object (the zoom-in of Sofiiuk et
al. 2020, "f-BRS: Rethinking Backpropagating Refinement for Interactive Segmentation").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import Click

NETWORK_SIDE = 448
"""Side of the square that every crop is resized to, in pixels."""

# The mask has another threshold, `target.MASK_THRESHOLD`.
_OBJECT_THRESHOLD = 0.5
_EXPANSION = 1.4
_MIN_CROP_SIDE = 200
_MIN_OVERLAP = 0.5

PointRow = tuple[float, float, float]
"""A click as the network takes it: y, x, position in the click sequence."""
UNUSED_ROW: PointRow = (-1.0, -1.0, -1.0)


class Crop(NamedTuple):
    """A part of the image; its last row and column are included."""

    row_min: int
    row_max: int
    col_min: int
    col_max: int

    @classmethod
    def whole(cls, size_hw: tuple[int, int]) -> Crop:
        """Return the crop that covers the whole image."""
        return cls(0, size_hw[0] - 1, 0, size_hw[1] - 1)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.row_max - self.row_min + 1, self.col_max - self.col_min + 1

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices that cut the crop out of an array of shape (..., H, W), after an ellipsis."""
        return slice(self.row_min, self.row_max + 1), slice(self.col_min, self.col_max + 1)


def next_crop(
    clicks: Sequence[Click],
    *,
    size_hw: tuple[int, int],
    probabilities: NDArray[np.float32] | None = None,
    kept: Crop | None = None,
) -> Crop:
    """Return the crop for the next prediction of a target.

    The kept crop stays unless a positive click lies outside it (its last row and column count as
    outside) or it overlaps too little with the crop that `object_crop` would choose now.

    Args:
        clicks: every click so far.
        size_hw: height and width of the image.
        probabilities: the previous map of the whole image, None before the first click.
            Shape: (H, W).
        kept: the crop of the previous prediction, None before the first click.
    """
    candidate = object_crop(clicks, size_hw=size_hw, probabilities=probabilities)
    if kept is None or not _holds_positive_clicks(kept, clicks):
        return candidate
    return candidate if overlap(candidate, kept) < _MIN_OVERLAP else kept


def object_crop(
    clicks: Sequence[Click],
    *,
    size_hw: tuple[int, int],
    probabilities: NDArray[np.float32] | None,
) -> Crop:
    """Return a crop around object and positive clicks; the whole image without an object.

    The sides are 1.4 times the object's and at least 200 pixels before rounding (201 afterwards is
    possible), clipped to the image.

    Args:
        clicks: every click so far, inside the image.
        size_hw: height and width of the image.
        probabilities: the object is where they exceed 0.5. Shape: (H, W).
    """
    if probabilities is None:
        return Crop.whole(size_hw)
    is_object = probabilities > _OBJECT_THRESHOLD
    rows, columns = np.flatnonzero(is_object.any(axis=1)), np.flatnonzero(is_object.any(axis=0))
    if rows.size == 0:
        return Crop.whole(size_hw)
    y = [int(rows[0]), int(rows[-1]), *(c.y for c in clicks if c.is_positive)]
    x = [int(columns[0]), int(columns[-1]), *(c.x for c in clicks if c.is_positive)]
    return Crop(
        *_grown(min(y), max(y), limit=size_hw[0] - 1), *_grown(min(x), max(x), limit=size_hw[1] - 1)
    )


def overlap(a: Crop, b: Crop) -> float:
    """Return the product of the rows' and the columns' IoU: at most the area's IoU, in [0, 1]."""
    return _interval_iou(a[:2], b[:2]) * _interval_iou(a[2:], b[2:])


def point_rows(
    clicks: Sequence[Click], crop: Crop, *, rows_per_sign: int, mirrored: bool = False
) -> list[PointRow]:
    """Return the network's rows for a target: positive clicks, then negative ones.

    Coordinates are in the resized crop, not rounded. The left edge of a pixel is scaled, although
    the image itself is resized corner to corner. A negative click may be outside.

    Args:
        clicks: every click so far, oldest first.
        crop: the part of the image that the network sees.
        rows_per_sign: how many rows each sign fills; unused ones are (-1, -1, -1).
        mirrored: for the crop flipped left to right.
    """
    height, width = crop.size_hw
    rows: dict[bool, list[PointRow]] = {True: [], False: []}
    for index, click in enumerate(clicks):
        y = NETWORK_SIDE * (click.y - crop.row_min) / height
        x = NETWORK_SIDE * (click.x - crop.col_min) / width
        rows[click.is_positive].append((y, NETWORK_SIDE - x - 1 if mirrored else x, float(index)))
    return [
        row
        for is_positive in (True, False)
        for row in rows[is_positive] + [UNUSED_ROW] * (rows_per_sign - len(rows[is_positive]))
    ]


def rows_needed(clicks: Sequence[Click]) -> int:
    """Return how many rows the more frequent sign needs, at least 1."""
    positive = sum(c.is_positive for c in clicks)
    return max(positive, len(clicks) - positive, 1)


def _holds_positive_clicks(crop: Crop, clicks: Sequence[Click]) -> bool:
    return all(
        crop.row_min <= c.y < crop.row_max and crop.col_min <= c.x < crop.col_max
        for c in clicks
        if c.is_positive
    )


def _grown(first: int, last: int, *, limit: int) -> tuple[int, int]:
    centre = 0.5 * (first + last)
    side = max(_EXPANSION * (last - first + 1), _MIN_CROP_SIDE)
    # `round` rounds halves to even, as the reference does.
    return max(0, round(centre - 0.5 * side)), min(limit, round(centre + 0.5 * side))


def _interval_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    common = min(a[1], b[1]) - max(a[0], b[0]) + 1
    return max(0, common) / (max(a[1], b[1]) - min(a[0], b[0]) + 1)
