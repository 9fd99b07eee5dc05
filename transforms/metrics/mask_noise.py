"""Errors of a ground truth itself, and clicks that chase them.

All sizes are in pixels of the image; a pixel's neighbours are the eight around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, Trajectory
from hlmat.transforms.masks.rle import decode_rle, mask_box

SMALL_SHARE = 0.002
"""Share of an object's area up to which a hole or an island is one of a few pixels."""
SMALL_PIXELS = 9
"""Holes and islands of this area are small in any object."""
SLIVER_LENGTH = 8
"""Least extent of a sliver; what an opening takes from a corner is shorter."""
SLIVER_SHARE = 0.1
"""Share of an object's area up to which all its thin parts are slivers; above it is thin itself."""
THICK_DEPTH = 4.0
"""Least distance to the outside, somewhere within an object, for which thin parts are slivers."""
THIN_DEPTH = 1.5
"""Largest distance to the outside within a part that no segmenter can be expected to reach."""
BORDER_WIDTH = 4.0
"""Distance from the outline up to which an error lies along the border."""

_SQUARE = np.ones((3, 3), np.uint8)
_MARGIN = 4

ClickPlace = Literal["defect", "sliver", "border", "object"]
"""Where a click's error lies: in a defect of the ground truth, in a part too thin to reach, along
the border, or elsewhere."""


@dataclass(frozen=True)
class Defects:
    """Likely errors of a ground truth.

    Attributes:
        holes: area of each small hole.
        islands: area of each small part apart from the largest.
        slivers: area of each thin part of the object, or thin gap in it.
        mask: all their pixels. Shape: that of the truth, bool.
    """

    holes: tuple[int, ...]
    islands: tuple[int, ...]
    slivers: tuple[int, ...]
    mask: Mask


@dataclass(frozen=True)
class ChasedClicks:
    """What the later clicks of a trajectory went after.

    Attributes:
        places: for each click of the policy but the first.
        unreachable: pixels of the last error in parts too thin to reach.
        left: pixels of the last error.
    """

    places: tuple[ClickPlace, ...]
    unreachable: int
    left: int

    @property
    def share(self) -> float:
        """The share of later clicks that are not after the object; 0 without later clicks."""
        if not self.places:
            return 0.0
        return sum(place != "object" for place in self.places) / len(self.places)


@dataclass(frozen=True)
class Outline:
    """How rough the outline of a mask is.

    Attributes:
        length: in pixels.
        corners: vertices of the polygon that is nowhere more than a pixel away from it.
    """

    length: float
    corners: int


def find_defects(truth: Mask) -> Defects:
    """Find holes, islands and slivers of a ground truth.

    Args:
        truth: Shape: (H, W), bool.
    """
    found = np.zeros(truth.shape, np.bool_)
    box = mask_box(truth)
    if box is None:
        return Defects((), (), (), found)
    rows = slice(max(0, box.y0 - _MARGIN), box.y1 + _MARGIN)
    columns = slice(max(0, box.x0 - _MARGIN), box.x1 + _MARGIN)
    # At the image's edge the object goes on as it is.
    part = np.pad(truth[rows, columns], _MARGIN, mode="edge")
    small = max(SMALL_PIXELS, SMALL_SHARE * float(np.count_nonzero(truth[rows, columns])))
    hole_areas, holes = _small_holes(part, small)
    island_areas, islands = _small_islands(part, small)
    sliver_areas, slivers = _slivers((part | holes) & ~islands)
    found[rows, columns] = (holes | islands | slivers)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return Defects(hole_areas, island_areas, sliver_areas, found)


def chased_clicks(trajectory: Trajectory, defects: Defects) -> ChasedClicks:
    """Judge each click of the policy but the first by the error that it went after.

    An error is a connected part of the pixels that were wrong before the click and that a click of
    its kind corrects. Clicks outside any error count as on the object.

    Args:
        trajectory: its truth is the one of the defects.
        defects: of the truth.
    """
    target = trajectory.target
    truth = decode_rle(target.truth)
    counted = None if target.ignore is None else ~decode_rle(target.ignore)
    depth = _depth_from_outline(truth)
    initial = trajectory.initial_mask
    mask = np.zeros_like(truth) if initial is None else decode_rle(initial)
    places: list[ClickPlace] = []
    is_first = True
    for step in trajectory.steps:
        action = step.action
        if isinstance(action, Click) and not step.is_initial:
            if not is_first:
                wrong = truth & ~mask if action.is_positive else mask & ~truth
                if counted is not None:
                    wrong &= counted
                places.append(_place_of(action, wrong, defects=defects.mask, depth=depth))
            is_first = False
        mask = decode_rle(step.mask)
    left = mask ^ truth
    if counted is not None:
        left &= counted
    return ChasedClicks(tuple(places), _thin_area(left), int(np.count_nonzero(left)))


def measure_outline(truth: Mask) -> Outline:
    """Measure the outlines of a mask's parts, holes included.

    Args:
        truth: Shape: (H, W), bool.
    """
    contours, _ = cv2.findContours(truth.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return Outline(
        sum(cv2.arcLength(contour, True) for contour in contours),
        sum(len(cv2.approxPolyDP(contour, 1.0, True)) for contour in contours),
    )


def _place_of(
    click: Click, wrong: Mask, *, defects: Mask, depth: NDArray[np.float32]
) -> ClickPlace:
    if not wrong[click.y, click.x]:
        return "object"
    _, labels = cv2.connectedComponents(wrong.view(np.uint8), connectivity=8)
    part = labels == labels[click.y, click.x]
    if 2 * np.count_nonzero(part & defects) >= np.count_nonzero(part):
        return "defect"
    if _is_thin(part):
        return "sliver"
    return "border" if depth[part].max() <= BORDER_WIDTH else "object"


def _depth_from_outline(truth: Mask) -> NDArray[np.float32]:
    """Return each pixel's distance to the other side of the outline."""
    if not truth.any() or truth.all():
        return np.full(truth.shape, np.inf, np.float32)
    inside = cv2.distanceTransform(truth.view(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~truth).view(np.uint8), cv2.DIST_L2, 5)
    return np.maximum(inside, outside)


def _is_thin(part: Mask) -> bool:
    padded = np.pad(part, 1).view(np.uint8)
    return bool(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max() <= THIN_DEPTH)


def _thin_area(wrong: Mask) -> int:
    """Return the pixels of parts that have no square of 3 by 3 pixels."""
    if not wrong.any():
        return 0
    labels, areas = _parts(wrong)
    core = cv2.erode(
        wrong.view(np.uint8), _SQUARE, borderType=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0)
    )
    thick = np.zeros(len(areas), np.bool_)
    thick[labels[core > 0]] = True
    thick[0] = True
    return int(areas[~thick].sum())


def _small_holes(mask: Mask, small: float) -> tuple[tuple[int, ...], Mask]:
    """Return the areas of small holes, and their pixels."""
    # A diagonal crack is one part, not a row of holes.
    labels, areas = _parts(~mask)
    chosen = areas <= small
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        chosen[side] = False
    chosen[0] = False
    return _sorted(areas[chosen]), chosen[labels]


def _small_islands(mask: Mask, small: float) -> tuple[tuple[int, ...], Mask]:
    """Return the areas of small parts but the largest, and their pixels."""
    labels, areas = _parts(mask)
    chosen = areas <= small
    chosen[0] = False
    if len(areas) > 1:
        chosen[1 + int(np.argmax(areas[1:]))] = False
    return _sorted(areas[chosen]), chosen[labels]


def _slivers(mask: Mask) -> tuple[tuple[int, ...], Mask]:
    """Return the areas of thin parts of a mask and thin gaps in it, and their pixels."""
    most = SLIVER_SHARE * float(np.count_nonzero(mask))
    drawn = mask.view(np.uint8)
    thin = mask & (cv2.morphologyEx(drawn, cv2.MORPH_OPEN, _SQUARE) == 0)
    gaps = ~mask & (cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, _SQUARE) > 0)
    found, slivers = np.zeros_like(mask), []
    deepest = cv2.distanceTransform(np.pad(drawn, 1), cv2.DIST_L2, 5).max()
    for kind in (thin, gaps):
        if deepest < THICK_DEPTH or np.count_nonzero(kind) > most:
            continue
        _, labels, stats, _ = cv2.connectedComponentsWithStats(kind.view(np.uint8), connectivity=8)
        extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
        areas = stats[:, cv2.CC_STAT_AREA]
        chosen = extent >= SLIVER_LENGTH
        chosen[0] = False
        found |= chosen[labels.astype(np.int32)]
        slivers.append(areas[chosen])
    return _sorted(np.concatenate([np.zeros(0, np.int32), *slivers])), found


def _parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each pixel's part, 0 outside the mask, and the area of each."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return labels.astype(np.int32), stats[:, cv2.CC_STAT_AREA].astype(np.int32)


def _sorted(areas: NDArray[np.int32]) -> tuple[int, ...]:
    return tuple(sorted(map(int, areas)))
