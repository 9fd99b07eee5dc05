"""What a clickability model knows about each pixel of an error.

An error consists of the pixels that a mask missed and those that it wrongly included; a region is a
connected part of either (corners connect). A pixel's depth is its exact Euclidean distance to the
nearest pixel outside the missed, or the wrongly included, pixels; beyond the image all is outside.
The oracle measures depth in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.clickability.click_model import FEATURES, ClickModel
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.masks.rle import Part, joint_part, mask_box
from hlmat.transforms.oracle.click import error_regions

_EDGE_SHARE = 0.1

Column = NDArray[np.float64]
"""A value for each pixel. Shape: (N,)."""


@dataclass(frozen=True)
class ErrorPixels:
    """The pixels of an error that can be clicked, in row-major order.

    Attributes:
        x, y: columns and rows in the image. Shapes: (N,).
        is_missed: whether the pixel belongs to the object. Shape: (N,).
        depth: Euclidean, in pixels. Shape: (N,).
        region: index of the pixel's region. Shape: (N,).
        region_depth: the greatest depth of each region, in pixels. Shape: (regions,).
        region_area: of each region, in pixels. Shape: (regions,).
        object_box_xyxy: around the object, exclusive ends; the image if there is no object.
        object_area: in pixels.
        size_hw: of the image.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    is_missed: NDArray[np.bool_]
    depth: NDArray[np.float32]
    region: NDArray[np.int32]
    region_depth: Column
    region_area: Column
    object_box_xyxy: tuple[int, int, int, int]
    object_area: int
    size_hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.x)

    def click(self, index: int) -> Click:
        """Return the click on a pixel, with its right label."""
        return Click(int(self.x[index]), int(self.y[index]), bool(self.is_missed[index]))

    def place_of(self, x: int, y: int) -> int | None:
        """Return the index of a pixel; None if it does not belong to the error."""
        found = np.flatnonzero((self.x == x) & (self.y == y))
        return int(found[0]) if found.size else None

    def at(self, indices: NDArray[np.int64]) -> ErrorPixels:
        """Return some of the pixels; their features stay the same."""
        return ErrorPixels(
            self.x[indices],
            self.y[indices],
            self.is_missed[indices],
            self.depth[indices],
            self.region[indices],
            self.region_depth,
            self.region_area,
            self.object_box_xyxy,
            self.object_area,
            self.size_hw,
        )

    @property
    def relative_depth(self) -> Column:
        """Depth as a part of the region's greatest, above 0 to 1. Shape: (N,)."""
        return self.depth / self.region_depth[self.region]

    def feature(self, name: str) -> Column:
        """Return one of `FEATURES`. Shape: (N,)."""
        left, top, right, bottom = self.object_box_xyxy
        height, width = self.size_hw
        centre_x, centre_y = (left + right - 1) / 2, (top + bottom - 1) / 2
        match name:
            case "log_depth":
                return np.log(self.relative_depth)
            case "depth":
                return self.relative_depth
            case "region_depth":
                return np.log(self.region_depth / self.region_depth.max())[self.region]
            case "region_share":
                return np.log(self.region_area / self.region_area.sum())[self.region]
            case "missed":
                return self.is_missed.astype(np.float64)
            case "centre_distance":
                distance = np.hypot(self.x - centre_x, self.y - centre_y)
                return np.minimum(distance / (np.hypot(right - left, bottom - top) / 2), 2)
            case "above_centre":
                return np.clip((centre_y - self.y) / (bottom - top), -1, 1)
            case "depth_by_size":
                share = max(self.object_area, 1) / (height * width)
                return self.relative_depth * float(np.clip(np.log10(share) + 2, -2, 2))
            case "image_edge":
                across = np.minimum(self.x, width - 1 - self.x)
                to_edge = np.minimum(across, np.minimum(self.y, height - 1 - self.y))
                return np.maximum(0, 1 - to_edge / (_EDGE_SHARE * min(height, width)))
        raise ValueError(f"{name!r} is no feature, expected one of {', '.join(FEATURES)}")

    def features(self) -> NDArray[np.float64]:
        """Return every feature, in the order of `FEATURES`. Shape: (N, K)."""
        return np.stack([self.feature(name) for name in FEATURES], axis=1)

    def log_weights(self, model: ClickModel) -> Column:
        """Return the logarithm of each pixel's probability, up to a constant. Shape: (N,)."""
        logs = np.zeros(len(self))
        for name, weight in model.weights.items():
            if weight:
                logs += weight * self.feature(name)
        return logs

    def probabilities(self, model: ClickModel) -> Column:
        """Return each pixel's probability. Shape: (N,), N at least 1; they sum to 1."""
        logs = self.log_weights(model)
        logs -= logs.max()
        np.exp(logs, out=logs)
        logs /= logs.sum()
        return logs


def error_pixels(
    prediction: Mask,
    truth: Mask,
    *,
    ignore: Mask | None = None,
    clicked: Sequence[Click] = (),
    part: Part | None = None,
) -> ErrorPixels:
    """Return the wrong pixels of a mask.

    Args:
        prediction: bool. Shape: (H, W).
        truth: bool. Shape: (H, W).
        ignore: pixels never counted as an error, bool or None. Shape: (H, W).
        clicked: clicks already made; their pixels are left out.
        part: rows and columns that contain every True pixel of prediction and truth; None to
            compute them.

    Raises:
        ValueError: the masks differ in shape or are not bool.

    >>> truth = np.zeros((5, 7), dtype=np.bool_)
    >>> truth[1:4, 3:6] = True
    >>> pixels = error_pixels(np.zeros_like(truth), truth)
    >>> pixels.click(int(pixels.depth.argmax()))
    Click(x=4, y=2, is_positive=True)
    """
    height, width = truth.shape
    inside = joint_part(prediction, truth) if part is None else part
    if inside is None:
        inside = (slice(0, 0), slice(0, 0))
    missed, included = error_regions(
        prediction[inside], truth[inside], ignore=None if ignore is None else ignore[inside]
    )
    y0, x0 = inside[0].start, inside[1].start
    clickable = missed | included
    for click in clicked:
        y, x = click.y - y0, click.x - x0
        if 0 <= y < clickable.shape[0] and 0 <= x < clickable.shape[1]:
            clickable[y, x] = False
    ys, xs = (places.astype(np.int32) for places in np.nonzero(clickable))
    is_missed = missed[ys, xs]
    depth, region = np.zeros(len(ys), np.float32), np.zeros(len(ys), np.int32)
    region_depth: list[Column] = []
    region_area: list[Column] = []
    found = 0
    for mask, chosen in ((missed, is_missed), (included, ~is_missed)):
        if not mask.any():
            continue
        depths, labels, greatest, area = _measure(mask)
        at = ys[chosen], xs[chosen]
        depth[chosen], region[chosen] = depths[at], labels[at] - 1 + found
        region_depth.append(greatest)
        region_area.append(area)
        found += len(area)
    box = mask_box(truth[inside])
    return ErrorPixels(
        x=xs + np.int32(x0),
        y=ys + np.int32(y0),
        is_missed=is_missed,
        depth=depth,
        region=region,
        region_depth=np.concatenate([np.zeros(0), *region_depth]),
        region_area=np.concatenate([np.zeros(0), *region_area]),
        object_box_xyxy=(box.x0 + x0, box.y0 + y0, box.x1 + x0, box.y1 + y0)
        if box
        else (0, 0, width, height),
        object_area=int(np.count_nonzero(truth[inside])),
        size_hw=(height, width),
    )


def _measure(region: Mask) -> tuple[NDArray[np.float32], NDArray[np.int32], Column, Column]:
    """Measure the regions of a mask that is not empty.

    Returns:
        The depth of each pixel, the label of its region from 1 on, and the greatest depth and the
        area of each region. Shapes: (H, W), (H, W), (regions,) and (regions,).
    """
    pixels = np.ascontiguousarray(region).view(np.uint8)
    padded = cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depths = np.asarray(distances[1:-1, 1:-1], np.float32)
    # Squared distances are whole numbers; rounding removes what depends on the machine.
    np.square(depths, out=depths)
    np.rint(depths, out=depths)
    np.sqrt(depths, out=depths)
    count, found, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    labels = np.asarray(found, np.int32)
    greatest = np.zeros(count)
    np.maximum.at(greatest, labels[region], depths[region])
    return depths, labels, greatest[1:], stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
