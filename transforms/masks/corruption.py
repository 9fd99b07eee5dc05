"""Corrupt a ground-truth mask as a careless annotator would.

A corrupted mask is not empty and differs from the truth; where the truth allows no such mask (an
object of one pixel cannot shrink), the functions return None. The same generator state gives the
same mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.masks.boxes import truth_box
from hlmat.transforms.masks.rle import mask_iou

_MAX_DISCS = 4
_DISC_RADIUS = (0.05, 0.2)
_POLYGON_TOLERANCE = (0.02, 0.06)


class Corruption(NamedTuple):
    """A wrong mask.

    Attributes:
        kind: name of the corruption.
        mask: bool. Shape: (H, W).
        iou: with the truth, ignored pixels left out; below 1.
    """

    kind: str
    mask: Mask
    iou: float


class _Ladder(NamedTuple):
    """Nested corruptions: `mask_at(k)` grows in strength with k, from 1 to `length`."""

    length: int
    mask_at: Callable[[int], Mask]


def box_mask(truth: Mask) -> Mask | None:
    """Return the truth's box as a mask; None if the truth fills its box.

    Args:
        truth: bool, not empty. Shape: (H, W).

    Raises:
        ValueError: the truth is empty.
    """
    box = truth_box(truth)
    mask = np.zeros_like(truth)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return _unless_true(mask, truth)


def coarse_polygon(truth: Mask, *, rng: np.random.Generator) -> Mask | None:
    """Return the truth simplified to polygons with few corners and no holes.

    Each part's outline is simplified (Douglas and Peucker) until no point is further from it than
    2 to 6 percent of its length, drawn at random. Parts without area are dropped.

    Args:
        truth: bool, not empty. Shape: (H, W).
        rng: source of the tolerance.
    """
    truth_box(truth)
    tolerance = rng.uniform(*_POLYGON_TOLERANCE)
    outlines, _ = cv2.findContours(truth.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = np.zeros(truth.shape, np.uint8)
    for outline in outlines:
        polygon = cv2.approxPolyDP(outline, tolerance * cv2.arcLength(outline, True), True)
        if len(polygon) >= 3:
            cv2.fillPoly(drawn, [polygon], [1])
    return _unless_true(drawn.view(np.bool_), truth)


def random_discs(truth: Mask, *, rng: np.random.Generator) -> Mask | None:
    """Return one to four discs, centred at random in the truth's box enlarged 1.5 times.

    A radius is 5 to 20 percent of the box's diagonal, at least a pixel.

    Args:
        truth: bool, not empty. Shape: (H, W).
        rng: source of number, positions and sizes.
    """
    box = truth_box(truth)
    width, height = box.x1 - box.x0, box.y1 - box.y0
    drawn = np.zeros(truth.shape, np.uint8)
    for _ in range(int(rng.integers(1, _MAX_DISCS + 1))):
        x = _within(rng.uniform(box.x0 - width / 4, box.x1 + width / 4), truth.shape[1])
        y = _within(rng.uniform(box.y0 - height / 4, box.y1 + height / 4), truth.shape[0])
        radius = max(1, round(rng.uniform(*_DISC_RADIUS) * float(np.hypot(width, height))))
        cv2.circle(drawn, (x, y), radius, 1, thickness=-1)
    return _unless_true(drawn.view(np.bool_), truth)


def corrupted_to_iou(
    truth: Mask,
    *,
    low: float,
    high: float,
    rng: np.random.Generator,
    ignore: Mask | None = None,
    kinds: tuple[str, ...] = (),
) -> Corruption | None:
    """Return a corruption whose IoU with the truth is in [low, high).

    Draw an IoU in the range and try the kinds in random order; return the first that reaches the
    range, at the strength nearest to the drawn IoU.

    Args:
        truth: bool, not empty. Shape: (H, W).
        low: at least 0.
        high: at most 1.
        rng: source of every random choice.
        ignore: pixels left out of the IoU. Shape: (H, W).
        kinds: keys of `GRADED`; empty for all of them.

    Returns:
        None if no kind reaches the range, as happens with the smallest objects.

    Raises:
        ValueError: not 0 <= low < high <= 1, or the truth is empty.
    """
    if not 0 <= low < high <= 1:
        raise ValueError(f"expected 0 <= low < high <= 1, got low {low} and high {high}")
    truth_box(truth)
    wanted = rng.uniform(low, high)
    names = kinds or tuple(GRADED)
    for index in rng.permutation(len(names)):
        ladder = GRADED[names[index]](truth, rng)
        found = _nearest(ladder, wanted, lambda mask: mask_iou(mask, truth, ignore=ignore))
        for mask, iou in found:
            if low <= iou < high and mask.any():
                return Corruption(names[index], mask, iou)
    return None


def _nearest(
    ladder: _Ladder, wanted: float, measure: Callable[[Mask], float]
) -> list[tuple[Mask, float]]:
    """Return the masks just above and below an IoU, each with its IoU, the nearer first."""
    below, above = ladder.length + 1, 0
    while below - above > 1:
        middle = (below + above) // 2
        if measure(ladder.mask_at(middle)) > wanted:
            above = middle
        else:
            below = middle
    masks = [ladder.mask_at(k) for k in (above, below) if 1 <= k <= ladder.length]
    return sorted(((m, measure(m)) for m in masks), key=lambda pair: abs(pair[1] - wanted))


def _shrunk(truth: Mask, rng: np.random.Generator) -> _Ladder:
    """Remove the pixels within k of the boundary; the image's edge is a boundary."""
    depth = _whole_distance(np.pad(truth, 1))[1:-1, 1:-1]
    return _Ladder(int(depth.max()) - 1, lambda k: depth > k)


def _grown(truth: Mask, rng: np.random.Generator) -> _Ladder:
    """Add the pixels within k of the object."""
    distance = _whole_distance(~truth)
    return _Ladder(int(distance.max()), lambda k: distance <= k)


def _cut(truth: Mask, rng: np.random.Generator) -> _Ladder:
    """Remove one side of a line that sweeps across the object."""
    box = truth_box(truth)
    dx, dy = _direction(rng)
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    along = (columns - box.x0) * dx + (rows - box.y0) * dy
    inside = along[truth]
    start = int(inside.min())
    return _Ladder(int(inside.max()) - start, lambda k: truth & (along >= start + k))


def _shifted(truth: Mask, rng: np.random.Generator) -> _Ladder:
    """Move the object by k pixels along one axis, away from the nearer edge of the image."""
    box = truth_box(truth)
    axis = int(rng.integers(2))
    first, last = ((box.y0, box.y1), (box.x0, box.x1))[axis]
    end = truth.shape[axis]
    sign = 1 if end - last >= first else -1
    length = min(last - first, end - 1 - first if sign > 0 else last - 1)

    def mask_at(k: int) -> Mask:
        moved = np.zeros_like(truth)
        to, source = np.s_[k:], np.s_[: end - k]
        if sign < 0:
            to, source = source, to
        if axis == 0:
            moved[to] = truth[source]
        else:
            moved[:, to] = truth[:, source]
        return moved

    return _Ladder(length, mask_at)


GRADED: Mapping[str, Callable[[Mask, np.random.Generator], _Ladder]] = MappingProxyType(
    {"shrunk": _shrunk, "grown": _grown, "cut": _cut, "shifted": _shifted}
)
"""Corruptions of adjustable strength, by name."""


def _whole_distance(region: Mask) -> NDArray[np.int64]:
    """Return each pixel's distance to the nearest pixel outside the region, rounded up."""
    distance: Any = cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's equal distances can differ in the last bit; their squares are whole numbers.
    return np.ceil(np.sqrt(np.rint(distance.astype(np.float64) ** 2))).astype(np.int64)


def _direction(rng: np.random.Generator) -> tuple[int, int]:
    """Draw an integer direction, so that positions along it are integers too."""
    angle = rng.uniform(0, 2 * np.pi)
    return round(16 * np.cos(angle)), round(16 * np.sin(angle))


def _within(position: float, end: int) -> int:
    return min(max(int(position), 0), end - 1)


def _unless_true(mask: Mask, truth: Mask) -> Mask | None:
    return mask if mask.any() and not np.array_equal(mask, truth) else None
