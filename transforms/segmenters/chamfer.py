"""How deep each pixel of a small mask lies, in integers and so the same on every machine."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from transforms.protocols import Mask

UNIT = 978
"""The depth of one pixel."""

_DIAGONAL = 1402


def chamfer_depth(mask: Mask) -> NDArray[np.int32]:
    """Measure the distance to the nearest pixel outside the mask, in 1/1024 pixel.

    The 3 x 3 chamfer distance of Borgefors, "Distance Transformations in Digital Images", 1986,
    with the steps of least error that she derives (0.955 and 1.369). The surroundings of the
    array are outside the mask.

    Args:
        mask: bool. Shape: (H, W).

    Returns:
        int32, 0 outside the mask. Shape: (H, W).
    """
    depth = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.int32)
    depth[1:-1, 1:-1][mask] = 1 << 30
    _sweep(depth)
    return depth[1:-1, 1:-1]


@njit("void(int32[:, ::1])", cache=True)
def _sweep(depth: NDArray[np.int32]) -> None:  # pragma: no cover - compiled
    height, width = depth.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if depth[y, x] != 0:
                straight = min(depth[y, x - 1], depth[y - 1, x]) + UNIT
                diagonal = min(depth[y - 1, x - 1], depth[y - 1, x + 1]) + _DIAGONAL
                depth[y, x] = min(straight, diagonal)
    for y in range(height - 2, 0, -1):
        for x in range(width - 2, 0, -1):
            if depth[y, x] != 0:
                straight = min(depth[y, x + 1], depth[y + 1, x]) + UNIT
                diagonal = min(depth[y + 1, x + 1], depth[y + 1, x - 1]) + _DIAGONAL
                depth[y, x] = min(depth[y, x], straight, diagonal)
