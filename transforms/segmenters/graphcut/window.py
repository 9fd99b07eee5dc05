"""A part of the image at bounded size: colours, contours and cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.graphcut.colour_model import ColourClasses, Part, Values
from hlmat.transforms.segmenters.graphcut.max_flow import HARD, GridCut

# Costs are computed as floats and rounded to integers for the cut.
_COST_UNIT = 32.0
_SMOOTHNESS = 22.0
_SMOOTHNESS_FLOOR = 0.5
# Shares of straight and diagonal neighbours.
_STRAIGHT, _DIAGONAL = 0.6, 0.4
# Beyond this many standard deviations a bump is below float32's resolution at 1.
_BUMP_REACH = 5.8
_GUIDE_RADIUS = 1.5
_GUIDE_EPSILON = 1e-3

Cell = tuple[int, int, bool]
"""A click in a window: row, column, whether it is positive."""


@dataclass(frozen=True, eq=False)
class Bump:
    """A truncated Gaussian around a cell.

    Attributes:
        part: the cells that it covers; it is 0 elsewhere.
        weights: float32, 1 at the cell. Shape: the part's.
    """

    part: Part
    weights: Values


class ImageWindow:
    """A box of the image, shrunk until its longer side is at most `max_side` cells.

    Attributes:
        box: the part of the image that it shows, in the image's pixels.
        shape: rows and columns of the window in cells.
        colours: the classes of its colours.
    """

    def __init__(self, image: Image, grey: NDArray[np.uint8], box: Box, *, max_side: int) -> None:
        self.box = box
        self.image_hw = image.shape[:2]
        crop = image[box.y0 : box.y1, box.x0 : box.x1]
        self._grey = grey[box.y0 : box.y1, box.x0 : box.x1]
        height, width = crop.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        self.scale = scale
        self.shape = (max(6, round(height * scale)), max(6, round(width * scale)))
        self.side = max(self.shape)
        self.whole: Part = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        small = cv2.resize(crop, self.shape[::-1], interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(small, (0, 0), 0.8)
        lab = cv2.cvtColor(smooth.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
        self.colours = ColourClasses(lab)
        self._set_contours(lab)
        self.rows = np.arange(self.shape[0], dtype=np.float32)[:, None]
        self.columns = np.arange(self.shape[1], dtype=np.float32)[None, :]

    def _set_contours(self, lab: Values) -> None:
        def difference(a: Values, b: Values) -> Values:
            return ((a - b) ** 2).sum(axis=2)

        right = difference(lab[:, 1:], lab[:, :-1])
        down = difference(lab[1:], lab[:-1])
        down_right = difference(lab[1:, 1:], lab[:-1, :-1])
        down_left = difference(lab[1:, :-1], lab[:-1, 1:])
        usual = 2 * float(np.mean(np.concatenate((right.ravel(), down.ravel())))) + 1e-3
        self._pairwise = np.zeros((4, *self.shape), np.int32)

        def weight(squares: Values, share: float) -> Values:
            cost = (np.exp(-squares / usual) * _SMOOTHNESS + _SMOOTHNESS_FLOOR) * share
            return np.rint(cost * _COST_UNIT)

        self._pairwise[0, :, :-1] = weight(right, _STRAIGHT)
        self._pairwise[1, :-1] = weight(down, _STRAIGHT)
        self._pairwise[2, :-1, :-1] = weight(down_right, _DIAGONAL)
        self._pairwise[3, :-1, 1:] = weight(down_left, _DIAGONAL)
        self._whole_grid = GridCut(self._pairwise)
        self._edge_right = 1 - np.exp(-right / usual)
        self._edge_down = 1 - np.exp(-down / usual)

    def cell(self, click: Click) -> Cell:
        """Return the cell of a click; clicks outside the window map to its rim."""
        box, (rows, columns) = self.box, self.shape
        row = int((click.y - box.y0 + 0.5) * rows / (box.y1 - box.y0))
        column = int((click.x - box.x0 + 0.5) * columns / (box.x1 - box.x0))
        return min(rows - 1, max(0, row)), min(columns - 1, max(0, column)), click.is_positive

    def distance(self, row: int, column: int) -> Values:
        """Return the distance of every cell to a given one, in cells. Shape: `shape`."""
        return np.sqrt((self.rows - row) ** 2 + (self.columns - column) ** 2)

    def shrink(self, mask: Mask) -> Values:
        """Return the share of each cell that a mask covers.

        Args:
            mask: bool, the mask inside `box`. Shape: the box's height and width.

        Returns:
            float32 in [0, 1]. Shape: `shape`.
        """
        shares = cv2.resize(
            mask.view(np.uint8) * np.uint8(255), self.shape[::-1], interpolation=cv2.INTER_AREA
        )
        return shares.astype(np.float32) / np.float32(255)

    def bump(self, row: int, column: int, spread: float) -> Bump:
        """Return a Gaussian around a cell; `spread` is its standard deviation in cells."""
        reach = math.ceil(_BUMP_REACH * spread)
        part = self.part(row, column, reach)
        weight = -0.5 / spread**2
        rows = np.exp(weight * (self.rows[part[0]] - row) ** 2)
        return Bump(part, rows * np.exp(weight * (self.columns[:, part[1]] - column) ** 2))

    def part(self, row: int, column: int, reach: int) -> Part:
        """Return the cells at most `reach` rows and columns away."""
        rows = slice(max(0, row - reach), min(self.shape[0], row + reach + 1))
        return rows, slice(max(0, column - reach), min(self.shape[1], column + reach + 1))

    def cut(self, preference: Values, seeds: Sequence[Cell]) -> Mask:
        """Cut the window along its contours.

        Args:
            preference: log odds of object per cell. Shape: `shape`.
            seeds: clicks that the cut must honour, including their neighbouring cells.

        Returns:
            bool, True for object. Shape: `shape`.
        """
        return self._whole_grid.cut(_unary(preference, seeds, (0, 0)))

    def part_cutter(self, part: Part, keep: Mask) -> PartCutter:
        """Prepare repeated cuts of a part of the window.

        Args:
            part: the cells to cut.
            keep: bool, labels outside the part and on its rim. Shape: `shape`.
        """
        is_whole = part == self.whole
        grid = self._whole_grid if is_whole else GridCut(self._pairwise[:, *part])
        return PartCutter(grid, part, keep)

    def contrast(self, labels: Mask, *, besides: Mask | None = None) -> float:
        """Return the mean contour strength along the border of labels, in [0, 1].

        Args:
            labels: bool. Shape: `shape`.
            besides: bool, labels whose border is excluded. Shape: `shape`.
        """
        if besides is None:
            besides = np.zeros_like(labels)
        strength, length = _along_border(
            labels.view(np.uint8), besides.view(np.uint8), self._edge_right, self._edge_down
        )
        return strength / length if length else 0.0

    def rim_share(self, labels: Mask) -> float:
        """Return the share of the window's rim where object meets the image's edge."""
        height, width = self.image_hw
        touching = (
            labels[0].sum() * (self.box.y0 == 0)
            + labels[-1].sum() * (self.box.y1 == height)
            + labels[:, 0].sum() * (self.box.x0 == 0)
            + labels[:, -1].sum() * (self.box.x1 == width)
        )
        return float(touching) / (2 * (self.shape[0] + self.shape[1]))

    def enlarge(self, labels: Mask) -> Mask:
        """Enlarge labels to the image's resolution and align their border with grey edges.

        He, Sun and Tang, "Guided Image Filtering", 2010; the coefficients of large windows are
        computed on a coarser grid, as in their "Fast Guided Filter", 2015.

        Args:
            labels: bool. Shape: `shape`.

        Returns:
            bool. Shape: the box's height and width.
        """
        height, width = self._grey.shape
        if (height, width) == self.shape:
            return labels.copy()
        radius = max(2, round(_GUIDE_RADIUS / self.scale))
        step = max(1, radius // 4)
        coarse = (max(1, round(width / step)), max(1, round(height / step)))
        guide = self._grey.astype(np.float32)
        guide /= np.float32(255)
        small_guide = guide
        if step > 1:
            small_guide = cv2.resize(guide, coarse, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(labels.astype(np.float32), coarse, interpolation=cv2.INTER_LINEAR)
        kernel = (2 * round(radius / step) + 1,) * 2

        def mean(values: Values) -> Values:
            return cv2.blur(values, kernel)

        guide_mean, soft_mean = mean(small_guide), mean(soft)
        covariance = mean(small_guide * soft) - guide_mean * soft_mean
        variance = mean(small_guide * small_guide) - guide_mean * guide_mean
        slope = covariance / (variance + np.float32(_GUIDE_EPSILON))
        offset = mean(soft_mean - slope * guide_mean)
        slope = mean(slope)
        if step > 1:
            slope = cv2.resize(slope, (width, height), interpolation=cv2.INTER_LINEAR)
            offset = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
        slope *= guide
        slope += offset
        return slope > 0.5


class PartCutter:
    """Cut a part of a window; labels outside it and on its rim stay fixed."""

    def __init__(self, grid: GridCut, part: Part, keep: Mask) -> None:
        self._grid = grid
        self._part = part
        self._keep = keep
        rows, columns = part
        self._rim = np.ones((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        self._rim[
            int(rows.start > 0) : self._rim.shape[0] - int(rows.stop < keep.shape[0]),
            int(columns.start > 0) : self._rim.shape[1] - int(columns.stop < keep.shape[1]),
        ] = False
        self._rim_unary = np.where(keep[part], HARD, -HARD)

    def cut(self, preference: Values, seeds: Sequence[Cell]) -> Mask:
        """Cut as `ImageWindow.cut` does; `preference` has the part's shape."""
        unary = _unary(preference, seeds, (self._part[0].start, self._part[1].start))
        np.copyto(unary, self._rim_unary, where=self._rim, casting="same_kind")
        labels = self._keep.copy()
        labels[self._part] = self._grid.cut(unary)
        return labels


def _unary(preference: Values, seeds: Sequence[Cell], origin: tuple[int, int]) -> NDArray[np.int32]:
    unary = np.rint(preference * np.float32(_COST_UNIT)).astype(np.int32)
    for row, column, is_positive in seeds:
        row, column = row - origin[0], column - origin[1]
        seed = unary[max(0, row - 1) : max(0, row + 2), max(0, column - 1) : max(0, column + 2)]
        seed[:] = HARD if is_positive else -HARD
    return unary


@njit(
    "Tuple((float64, int64))(uint8[:, :], uint8[:, :], float32[:, :], float32[:, :])",
    cache=True,
    nogil=True,
)
def _along_border(  # pragma: no cover - compiled
    labels: NDArray[np.uint8],
    besides: NDArray[np.uint8],
    edge_right: NDArray[np.float32],
    edge_down: NDArray[np.float32],
) -> tuple[float, int]:
    """Sum and count the edges where `labels` change and `besides` do not."""
    height, width = labels.shape
    strength, length = 0.0, 0
    for y in range(height):
        for x in range(width):
            if (
                x + 1 < width
                and labels[y, x] != labels[y, x + 1]
                and besides[y, x] == besides[y, x + 1]
            ):
                strength += edge_right[y, x]
                length += 1
            if (
                y + 1 < height
                and labels[y, x] != labels[y + 1, x]
                and besides[y, x] == besides[y + 1, x]
            ):
                strength += edge_down[y, x]
                length += 1
    return strength, length
