"""The deepest pixel of a region, without computing the distance of every pixel.

The depth of a pixel is its exact Euclidean distance to the nearest pixel outside the region;
everything beyond the image border is outside. Distances are compared as squared integers, so
nothing is rounded. The image is cut into square tiles, and a distance transform of the small
grid of fully covered tiles bounds the depth within each. Tiles are then searched in descending
order of their bounds, and only pixels that can still win are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask

_TILE = 16
_MIXED = 1
_FULL = 2


@dataclass(frozen=True, slots=True)
class DeepPixel:
    """A pixel with its squared depth."""

    squared_depth: int
    x: int
    y: int


class DepthSearch:
    """A region prepared for finding its deepest pixel.

    Args:
        region: bool. Shape: (H, W).

    Attributes:
        bound: an upper bound of every pixel's squared depth; 0 for an empty region.
    """

    def __init__(self, region: Mask) -> None:
        self._pixels = np.ascontiguousarray(region).view(np.uint8)
        self._tiles = _classify_tiles(self._pixels)
        self._bounds = _bound_tiles(self._tiles)
        self.bound = int(self._bounds.max(initial=0))

    def deepest(
        self, *, at_least: int = 1, excluded: Sequence[tuple[int, int]] = ()
    ) -> DeepPixel | None:
        """Return the deepest pixel; of equally deep ones the first in row-major order.

        Args:
            at_least: the least squared depth to accept, 1 or more.
            excluded: (x, y) of pixels to skip.

        Returns:
            None if no pixel is that deep.
        """
        if self.bound < max(at_least, 1):
            return None
        squared_depth, x, y = _search(
            self._pixels,
            self._tiles,
            self._bounds,
            np.array(excluded, dtype=np.int64).reshape(-1, 2),
            max(at_least, 1),
        )
        return DeepPixel(squared_depth, x, y) if x >= 0 else None


def deepest_pixel(region: Mask) -> DeepPixel | None:
    """Return the deepest pixel of a region, None if it is empty.

    >>> deepest_pixel(np.ones((3, 5), dtype=np.bool_))
    DeepPixel(squared_depth=4, x=1, y=1)
    """
    return DepthSearch(region).deepest()


def _bound_tiles(tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bound the squared depth in each tile: some pixel of the nearest tile not full is outside."""
    full = (tiles == _FULL).astype(np.uint8)
    distance = cv2.distanceTransform(full, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return _squared_bounds(tiles, distance)


@numba.njit(cache=True, nogil=True)
def _squared_bounds(tiles: NDArray[np.uint8], distance: NDArray[np.float32]) -> NDArray[np.int64]:
    rows, columns = tiles.shape
    bounds = np.zeros((rows - 2, columns - 2), dtype=np.int64)
    # Two pixels are at most a tile's diagonal further apart than the corners of their tiles;
    # the last term covers the rounding of the tile grid's distances.
    more = (_TILE - 1) * np.sqrt(2.0) + 0.01
    for row in range(rows - 2):
        for column in range(columns - 2):
            if tiles[row + 1, column + 1] > 0:
                bound = np.float64(distance[row + 1, column + 1]) * _TILE + more
                bounds[row, column] = np.int64(bound * bound)
    return bounds


@numba.njit(cache=True, nogil=True)
def _classify_tiles(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark each tile as empty, mixed or full, with a ring of empty tiles around the grid.

    A tile that reaches beyond the image is never full.
    """
    height, width = pixels.shape
    rows = (height + _TILE - 1) // _TILE
    columns = (width + _TILE - 1) // _TILE
    tiles = np.zeros((rows + 2, columns + 2), dtype=np.uint8)
    some = np.empty(width, dtype=np.uint8)
    every = np.empty(width, dtype=np.uint8)
    for row in range(rows):
        y0 = row * _TILE
        y1 = min(y0 + _TILE, height)
        some[:] = 0
        every[:] = 1 if y1 - y0 == _TILE else 0
        for y in range(y0, y1):
            for x in range(width):
                some[x] |= pixels[y, x]
                every[x] &= pixels[y, x]
        for column in range(columns):
            x0 = column * _TILE
            x1 = min(x0 + _TILE, width)
            any_pixel = 0
            num_full = 0
            for x in range(x0, x1):
                any_pixel |= some[x]
                num_full += every[x]
            if num_full == _TILE:
                tiles[row + 1, column + 1] = _FULL
            elif any_pixel:
                tiles[row + 1, column + 1] = _MIXED
    return tiles


@numba.njit(cache=True, nogil=True)
def _count_full(tiles: NDArray[np.uint8], row: int, column: int, step: int, limit: int) -> int:
    """Count the full tiles in a tile column from `row` on, up (-1) or down (1), to `limit`."""
    count = 0
    while count < limit and tiles[row + 1, column + 1] == _FULL:
        count += 1
        row += step
    return count


@numba.njit(cache=True, nogil=True)
def _count_pixels(pixels: NDArray[np.uint8], x: int, y: int, step: int, limit: int) -> int:
    """Count the region's pixels in column `x` from `y` on, up (-1) or down (1), to `limit`."""
    count = 0
    while count < limit and 0 <= y < pixels.shape[0] and pixels[y, x]:
        count += 1
        y += step
    return count


@numba.njit(cache=True, nogil=True)
def _measure_columns(
    pixels: NDArray[np.uint8],
    tiles: NDArray[np.uint8],
    row: int,
    reach: NDArray[np.int64],
    vertical: NDArray[np.int64],
) -> None:
    """Fill one row of tiles with each pixel's distance to the outside within its own column.

    Args:
        reach: how far to measure in each column of tiles, 0 for none. Shape: (columns,).
        vertical: the result, with a zero column on either side. Shape: (_TILE, W + 2).
    """
    height, width = pixels.shape
    y0 = row * _TILE
    num_rows = min(_TILE, height - y0)
    for column in range(reach.size):
        limit = reach[column]
        if limit == 0:
            continue
        x0 = column * _TILE
        x1 = min(x0 + _TILE, width)
        if tiles[row + 1, column + 1] == 0:
            vertical[:, x0 + 1 : x1 + 1] = 0
            continue
        # Skip full tiles above and below once for all columns of the tile.
        above = _TILE * _count_full(tiles, row - 1, column, -1, limit // _TILE + 1)
        below = 0
        if num_rows == _TILE:
            below = _TILE * _count_full(tiles, row + 1, column, 1, limit // _TILE + 1)
        for x in range(x0, x1):
            run = above + _count_pixels(pixels, x, y0 - 1 - above, -1, limit - above)
            for j in range(num_rows):
                run = run + 1 if pixels[y0 + j, x] else 0
                vertical[j, x + 1] = run
            run = below + _count_pixels(pixels, x, y0 + num_rows + below, 1, limit - below)
            for j in range(num_rows - 1, -1, -1):
                run = run + 1 if pixels[y0 + j, x] else 0
                vertical[j, x + 1] = min(vertical[j, x + 1], run)


@numba.njit(cache=True, nogil=True)
def _contains(points: NDArray[np.int64], x: int, y: int) -> bool:
    # Numba cannot compile a generator expression.
    for i in range(points.shape[0]):  # noqa: SIM110
        if points[i, 0] == x and points[i, 1] == y:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _search(
    pixels: NDArray[np.uint8],
    tiles: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    excluded: NDArray[np.int64],
    at_least: int,
) -> tuple[int, int, int]:
    """Return (squared depth, x, y) of the deepest pixel, x = -1 if none is deep enough."""
    height, width = pixels.shape
    columns = bounds.shape[1]
    vertical = np.zeros((_TILE, width + 2), dtype=np.int64)
    reach = np.zeros(columns, dtype=np.int64)
    # A pixel at least as deep as `best` wins if it comes before (best_y, best_x).
    best, best_x, best_y = at_least, -1, height

    row_bounds = np.zeros(bounds.shape[0], dtype=np.int64)
    for row in range(bounds.shape[0]):
        row_bounds[row] = bounds[row].max()
    for row in np.argsort(-row_bounds, kind="mergesort"):
        widest = np.argmax(bounds[row])
        if bounds[row, widest] < best:
            break
        reach[:] = 0
        for column in range(columns):
            if bounds[row, column] >= best:
                radius = int(np.sqrt(bounds[row, column])) + 1
                spread = radius // _TILE + 1
                for c in range(max(0, column - spread), min(columns, column + spread + 1)):
                    reach[c] = max(reach[c], radius)
        _measure_columns(pixels, tiles, row, reach, vertical)

        # The tile with the highest bound comes first: its result rules out most of the others.
        for turn in range(-1, columns):
            column = widest if turn < 0 else turn
            if bounds[row, column] < best or turn == widest:
                continue
            for y in range(row * _TILE, min(row * _TILE + _TILE, height)):
                heights = vertical[y - row * _TILE]
                x0 = column * _TILE
                # Nearest pixels outside to the left and right, as far as they matter.
                left = x0 - 1
                right = x0
                for x in range(x0, min(x0 + _TILE, width)):
                    height_here = heights[x + 1]
                    if height_here == 0:
                        left = x
                        continue
                    # Among equals only an earlier pixel can win.
                    is_later = y > best_y or (y == best_y and x > best_x)
                    needed = best + 1 if is_later else best
                    if height_here**2 < needed:
                        continue
                    while heights[left + 1] and (x - left) ** 2 < needed:
                        left -= 1
                    if (x - left) ** 2 < needed:
                        continue
                    right = max(right, x)
                    while heights[right + 1] and (right - x) ** 2 < needed:
                        right += 1
                    if (right - x) ** 2 < needed:
                        continue
                    depth = height_here**2
                    k = 1
                    # The zero columns at both ends stop this before it leaves the array.
                    while depth >= needed and k * k < depth:
                        nearer = min(heights[x + 1 - k], heights[x + 1 + k])
                        depth = min(depth, nearer * nearer + k * k)
                        k += 1
                    if depth >= needed and not _contains(excluded, x, y):
                        best, best_x, best_y = depth, x, y
    return best, best_x, best_y
