"""Colour histograms over coarse classes, smoothed over similar colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask

_BANDWIDTH = 5.0
_LIMIT = 4.0

Values = NDArray[Any]
"""An array of any dtype, one number per cell or pixel; NumPy and OpenCV stubs lose the dtype."""

Part = tuple[slice, slice]
"""Rows and columns of a grid."""


class ColourClasses:
    """Assign each cell a colour class and smooth histograms over similar classes.

    Args:
        lab: CIE L*a*b*, float32. Shape: (H, W, 3).
    """

    def __init__(self, lab: Values) -> None:
        light = np.clip((lab[..., 0] / 10).astype(np.int32), 0, 9)
        red, yellow = (
            np.clip(((lab[..., c] + 60) * (14 / 120)).astype(np.int32), 0, 13) for c in (1, 2)
        )
        bins = (light * 14 + red) * 14 + yellow
        count = np.bincount(bins.ravel())
        used = np.flatnonzero(count)
        renumber = np.zeros(count.size, np.int32)
        renumber[used] = np.arange(used.size)
        self._cells = renumber[bins]
        self.count = count[used].astype(np.float64)
        flat = self._cells.ravel()
        centre = np.stack(
            [np.bincount(flat, lab[..., c].ravel()) / self.count for c in range(3)], axis=1
        )
        apart = ((centre[:, None] - centre[None]) ** 2).sum(axis=2)
        self._kinship = np.exp(-apart / (2 * _BANDWIDTH**2))

    def mass(self, weights: Values, part: Part = np.s_[:, :]) -> Values:
        """Sum weights by class.

        Args:
            weights: float32. Shape: the part's.
            part: cells that the weights belong to.

        Returns:
            float64. Shape: (classes,).
        """
        mass = np.zeros(self.count.size)
        _add_mass(self._cells[part], weights, mass)
        return mass

    def evidence(self, inside: Values, outside: Values) -> Values:
        """Return the clipped log ratio of two distributions of mass, by class."""
        ratio = np.log(self._spread(inside) + 1e-5) - np.log(self._spread(outside) + 1e-5)
        return np.clip(ratio, -_LIMIT, _LIMIT).astype(np.float32)

    def paint(self, by_class: Values, part: Part = np.s_[:, :]) -> Values:
        """Return the value of each cell's class. Shape: the part's."""
        return by_class[self._cells[part]]

    def separation(self, labels: Mask) -> float:
        """Return how little the colours inside and outside overlap, in [0, 1]."""
        inside = self.mass(labels.astype(np.float32))
        overlap = np.sqrt(self._spread(inside) * self._spread(self.count - inside))
        return 1 - float(overlap.sum())

    def _spread(self, mass: Values) -> Values:
        # No matrix product: BLAS may change the order of summation with the number of threads.
        smooth = np.einsum("ij,j->i", self._kinship, mass)
        return smooth / max(float(smooth.sum()), 1e-9)


@njit("void(int32[:, :], float32[:, :], float64[::1])", cache=True, nogil=True)
def _add_mass(  # pragma: no cover - compiled
    cells: NDArray[np.int32], weights: NDArray[np.float32], mass: NDArray[np.float64]
) -> None:
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            mass[cells[y, x]] += weights[y, x]
