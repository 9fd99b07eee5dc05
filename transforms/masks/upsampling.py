"""Low-resolution mask logits to a mask of the image, only where the logits change sign.

An encoder of SAM's kind sees the image resized and padded to a square, and its decoder answers
with logits on a coarser grid of that square. The mask is where the logits, resized bilinearly to
the square, cut to the image and resized bilinearly to its own size, exceed a threshold. Both
resizings together weigh at most three neighbouring logits along each axis, so nothing is computed
where all nine lie on one side of the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask

_TAPS = 3


@dataclass(frozen=True)
class Axis:
    """The weights of the logits for each pixel along one axis.

    Attributes:
        base: index of the first logit with weight. int32. Shape: (pixels,).
        weights: of that logit and the two after it; each row sums to 1. float32, (pixels, 3).
    """

    base: NDArray[np.int32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Upsampling:
    """Maps one image's logits to its mask.

    Attributes:
        y: rows.
        x: columns.
    """

    y: Axis
    x: Axis

    @classmethod
    def of(
        cls,
        *,
        logits_size: int,
        square_size: int,
        resized_hw: tuple[int, int],
        size_hw: tuple[int, int],
    ) -> Upsampling:
        """Compute the weights.

        Args:
            logits_size: side of the square of logits.
            square_size: side of the square that the encoder sees.
            resized_hw: the image's height and width within that square.
            size_hw: the image's own height and width.

        Raises:
            ValueError: the logits are not coarser than the square.
        """
        if logits_size > square_size:
            raise ValueError(
                f"logits must be no finer than the encoder's image of {square_size}, "
                f"got {logits_size}"
            )
        y, x = (
            _axis(logits_size, square=square_size, resized=resized, size=size)
            for resized, size in zip(resized_hw, size_hw, strict=True)
        )
        return cls(y=y, x=x)

    def mask(self, logits: NDArray[np.float32], *, threshold: float = 0.0) -> Mask:
        """Return where the resized logits exceed the threshold.

        Args:
            logits: float32. Shape: (logits_size, logits_size).

        Returns:
            bool. Shape: size_hw.
        """
        return _threshold(
            np.ascontiguousarray(logits, dtype=np.float32),
            self.y.base,
            self.y.weights,
            self.x.base,
            self.x.weights,
            np.float32(threshold),
        ).view(np.bool_)


def _axis(logits: int, *, square: int, resized: int, size: int) -> Axis:
    """Compose the two bilinear resizings along one axis; positions are centres of pixels."""
    first, second, fraction = _bilinear(size, resized)
    inner_first, inner_second, inner_fraction = _bilinear(square, logits)
    base = np.minimum(inner_first[first], max(logits - _TAPS, 0))
    weights = np.zeros((size, _TAPS), dtype=np.float64)
    rows = np.arange(size)
    for outer, outer_weight in ((first, 1 - fraction), (second, fraction)):
        for inner, inner_weight in (
            (inner_first[outer], 1 - inner_fraction[outer]),
            (inner_second[outer], inner_fraction[outer]),
        ):
            np.add.at(weights, (rows, inner - base), outer_weight * inner_weight)
    return Axis(base=base.astype(np.int32), weights=weights.astype(np.float32))


def _bilinear(
    size: int, source: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the two source pixels that each pixel lies between, and the weight of the second."""
    position = np.maximum((np.arange(size) + 0.5) * (source / size) - 0.5, 0)
    first = np.minimum(position.astype(np.int64), source - 1)
    second = np.minimum(first + 1, source - 1)
    return first, second, position - first


@numba.njit(cache=True, nogil=True)
def _threshold(
    logits: NDArray[np.float32],
    y_base: NDArray[np.int32],
    y_weights: NDArray[np.float32],
    x_base: NDArray[np.int32],
    x_weights: NDArray[np.float32],
    threshold: np.float32,
) -> NDArray[np.uint8]:
    height, width, side = y_base.size, x_base.size, logits.shape[1]
    taps = min(_TAPS, side)
    # Rounding may push sums beyond the range of the logits by a few units in the last place.
    slack = np.float32(1e-5) * np.abs(logits).max()
    # Pixels that share three columns of logits are adjacent.
    starts = np.empty(width + 1, dtype=np.int32)
    runs = 0
    for x in range(width):
        if x == 0 or x_base[x] != x_base[x - 1]:
            starts[runs] = x
            runs += 1
    starts[runs] = width
    mask = np.empty((height, width), dtype=np.uint8)
    row = np.empty(side, dtype=np.float32)
    verdict = np.empty(side, dtype=np.uint8)
    for y in range(height):
        base = y_base[y]
        if y == 0 or base != y_base[y - 1]:
            for k in range(runs):
                left = x_base[starts[k]]
                low = high = logits[base, left]
                for i in range(taps):
                    for j in range(taps):
                        low = min(low, logits[base + i, left + j])
                        high = max(high, logits[base + i, left + j])
                verdict[k] = 1 if low > threshold + slack else 0 if high < threshold - slack else 2
        for j in range(side):
            row[j] = 0
        for i in range(taps):
            weight = y_weights[y, i]
            for j in range(side):
                row[j] += weight * logits[base + i, j]
        for k in range(runs):
            start, stop = starts[k], starts[k + 1]
            if verdict[k] == 2:
                left = x_base[start]
                for x in range(start, stop):
                    value = np.float32(0)
                    for j in range(taps):
                        value += x_weights[x, j] * row[left + j]
                    mask[y, x] = 1 if value > threshold else 0
            else:
                mask[y, start:stop] = verdict[k]
    return mask
