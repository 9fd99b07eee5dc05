"""A part of the picture at a bounded size: its colours, its contours, and cuts through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.protocols import Image, Mask
from transforms.records import Box, Click
from transforms.segmenters.grid_cut import HARD, grid_cut

# Costs are floats where they are made and integers in the cut.
_COST_UNIT = 32.0
_SMOOTHNESS = 22.0
_SMOOTHNESS_FLOOR = 0.5
# Shares of straight and diagonal neighbours.
_STRAIGHT, _DIAGONAL = 0.6, 0.4
_COLOUR_BANDWIDTH = 5.0
_UNARY_LIMIT = 4.0
_GUIDE_RADIUS = 1.5
_GUIDE_EPSILON = 1e-3

Values = NDArray[Any]
"""Numbers of any kind, one a cell or pixel: NumPy and OpenCV do not keep track of the kind."""

Cell = tuple[int, int, bool]
"""A click in a window: row, column, is it positive."""


class PictureWindow:
    """A box of the picture, shrunk until its longer side is at most `max_side` cells.

    Attributes:
        box: the part of the picture that it shows, in the picture's pixels.
        shape: rows and columns of the window in cells.
    """

    def __init__(self, image: Image, grey: NDArray[np.uint8], box: Box, *, max_side: int) -> None:
        self.box = box
        self.picture_hw = image.shape[:2]
        crop = image[box.y0 : box.y1, box.x0 : box.x1]
        self._grey = grey[box.y0 : box.y1, box.x0 : box.x1]
        height, width = crop.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        self.scale = scale
        self.shape = (max(6, round(height * scale)), max(6, round(width * scale)))
        self.side = max(self.shape)
        small = cv2.resize(crop, self.shape[::-1], interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(small, (0, 0), 0.8)
        lab = cv2.cvtColor(smooth.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
        self._set_colours(lab)
        self._set_contours(lab)
        self.rows = np.arange(self.shape[0], dtype=np.float32)[:, None]
        self.columns = np.arange(self.shape[1], dtype=np.float32)[None, :]

    def _set_colours(self, lab: Values) -> None:
        light = np.clip((lab[..., 0] / 10).astype(np.int64), 0, 9)
        red, yellow = (
            np.clip(((lab[..., c] + 60) * (14 / 120)).astype(np.int64), 0, 13) for c in (1, 2)
        )
        used, inverse = np.unique((light * 14 + red) * 14 + yellow, return_inverse=True)
        flat = inverse.reshape(-1)
        count = np.bincount(flat)
        centre = np.stack(
            [np.bincount(flat, lab[..., c].ravel()) / count for c in range(3)], axis=1
        )
        apart = ((centre[:, None] - centre[None]) ** 2).sum(axis=2)
        self._class_count = used.size
        self._colour_class = inverse.reshape(self.shape)
        self._kinship = np.exp(-apart / (2 * _COLOUR_BANDWIDTH**2))

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
        self._edge_right = 1 - np.exp(-right / usual)
        self._edge_down = 1 - np.exp(-down / usual)

    def cell(self, click: Click) -> Cell:
        """Return where in the window a click lies; clicks outside fall on its rim."""
        box, (rows, columns) = self.box, self.shape
        row = int((click.y - box.y0 + 0.5) * rows / (box.y1 - box.y0))
        column = int((click.x - box.x0 + 0.5) * columns / (box.x1 - box.x0))
        return min(rows - 1, max(0, row)), min(columns - 1, max(0, column)), click.is_positive

    def squared_distance(self, row: float, column: float) -> Values:
        """Return every cell's squared distance to one, in cells."""
        return (self.rows - row) ** 2 + (self.columns - column) ** 2

    def shrink(self, mask: Mask) -> Values:
        """Return each cell's share of the mask's part in this window; `mask` is the part."""
        shares = cv2.resize(
            mask.view(np.uint8) * np.uint8(255), self.shape[::-1], interpolation=cv2.INTER_AREA
        )
        return shares.astype(np.float32) / np.float32(255)

    def histogram(self, weights: Values) -> Values:
        """Return the colour distribution of weighted cells; kindred colours share their mass."""
        mass = np.bincount(self._colour_class.ravel(), weights.ravel(), self._class_count)
        # Not a matrix product: BLAS may add in another order on another number of threads.
        smooth = np.einsum("ij,j->i", self._kinship, mass)
        return smooth / max(float(smooth.sum()), 1e-9)

    def colour_evidence(self, inside: Values, outside: Values) -> Values:
        """Return the clipped log ratio of two colour distributions at every cell."""
        ratio = np.log(self.histogram(inside) + 1e-5) - np.log(self.histogram(outside) + 1e-5)
        return np.clip(ratio, -_UNARY_LIMIT, _UNARY_LIMIT)[self._colour_class]

    def separation(self, labels: Mask) -> float:
        """Return how little the colours inside and outside overlap, in [0, 1]."""
        overlap = np.sqrt(self.histogram(labels) * self.histogram(~labels))
        return 1 - float(overlap.sum())

    def cut(
        self,
        preference: Values,
        seeds: Sequence[Cell],
        *,
        around: tuple[int, int, int] | None = None,
        keep: Mask | None = None,
    ) -> Mask:
        """Cut the window along its contours, given each cell's preference for the object.

        Args:
            preference: positive for object. Shape: `shape`.
            seeds: clicks that the cut must respect, with the cells beside them.
            around: row, column and reach of the only part that may change; None for all.
            keep: the labels outside that part and on its rim. Shape: `shape`.
        """
        unary = np.rint(preference * _COST_UNIT).astype(np.int32)
        for row, column, is_positive in seeds:
            seed = unary[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            seed[:] = HARD if is_positive else -HARD
        if around is None or keep is None:
            return grid_cut(unary, self._pairwise)
        row, column, reach = around
        y0, y1 = max(0, row - reach), min(self.shape[0], row + reach + 1)
        x0, x1 = max(0, column - reach), min(self.shape[1], column + reach + 1)
        part = unary[y0:y1, x0:x1]
        rim = np.where(keep[y0:y1, x0:x1], HARD, -HARD).astype(np.int32)
        if y0 > 0:
            part[0] = rim[0]
        if y1 < self.shape[0]:
            part[-1] = rim[-1]
        if x0 > 0:
            part[:, 0] = rim[:, 0]
        if x1 < self.shape[1]:
            part[:, -1] = rim[:, -1]
        labels = keep.copy()
        labels[y0:y1, x0:x1] = grid_cut(part, self._pairwise[:, y0:y1, x0:x1])
        return labels

    def contrast(self, labels: Mask, *, besides: Mask | None = None) -> float:
        """Return the mean contour strength under the labels' border, in [0, 1].

        Args:
            labels: Shape: `shape`.
            besides: labels whose own border does not count.
        """
        right = labels[:, 1:] != labels[:, :-1]
        down = labels[1:] != labels[:-1]
        if besides is not None:
            right &= besides[:, 1:] == besides[:, :-1]
            down &= besides[1:] == besides[:-1]
        length = np.count_nonzero(right) + np.count_nonzero(down)
        if length == 0:
            return 0.0
        strength = self._edge_right[right].sum(dtype=np.float64)
        return float(strength + self._edge_down[down].sum(dtype=np.float64)) / length

    def rim_share(self, labels: Mask) -> float:
        """Return the share of the window's rim that is object and the picture's edge as well."""
        height, width = self.picture_hw
        touching = (
            labels[0].sum() * (self.box.y0 == 0)
            + labels[-1].sum() * (self.box.y1 == height)
            + labels[:, 0].sum() * (self.box.x0 == 0)
            + labels[:, -1].sum() * (self.box.x1 == width)
        )
        return float(touching) / (2 * (self.shape[0] + self.shape[1]))

    def enlarge(self, labels: Mask) -> Mask:
        """Bring labels to the picture's resolution, their border drawn to the grey edges.

        He, Sun and Tang, "Guided Image Filtering", 2010; the coefficients of large windows are
        computed on a coarser grid, as in their "Fast Guided Filter", 2015.

        Args:
            labels: Shape: `shape`.

        Returns:
            Shape: the box's height and width.
        """
        height, width = self._grey.shape
        if (height, width) == self.shape:
            return labels.copy()
        radius = max(2, round(_GUIDE_RADIUS / self.scale))
        step = max(1, radius // 4)
        coarse = (max(1, round(width / step)), max(1, round(height / step)))
        guide = self._grey.astype(np.float32) / np.float32(255)
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
        return slope * guide + offset > 0.5
