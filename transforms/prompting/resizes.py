"""The sizes at which the processors of the model families show an image, for the codec "pixels"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Resize = Callable[[tuple[int, int]], tuple[int, int]]
"""Returns the (height, width) to which a processor resizes an image of (height, width)."""


@dataclass(frozen=True)
class SmartResize:
    """The resize of the Qwen2-VL family's processors; call it with (height, width).

    Both sides become multiples of `factor` and the area stays within bounds, with the aspect kept
    as nearly as that allows. Qwen2-VL and Qwen2.5-VL have a factor of 28, Qwen3-VL of 32.

    Attributes:
        factor: what both sides are multiples of.
        min_pixels: images with a smaller area are enlarged.
        max_pixels: images with a larger area are reduced.

    >>> SmartResize()((480, 640))
    (476, 644)
    """

    factor: int = 28
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280

    def __call__(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the resized (height, width). Raises ValueError beyond an aspect of 200."""
        height, width = size_hw
        aspect = max(size_hw) / min(size_hw)
        if aspect > 200:
            raise ValueError(
                f"an image of {width} x {height} pixels has an aspect ratio of {aspect:.0f}; the "
                "processor takes 200 at most, so leave it out or crop it"
            )
        # Python rounds halves to even here, as the processor does.
        near = [round(side / self.factor) * self.factor for side in size_hw]
        if near[0] * near[1] > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            near = [
                max(self.factor, math.floor(side / shrink / self.factor) * self.factor)
                for side in size_hw
            ]
        elif near[0] * near[1] < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            near = [math.ceil(side * grow / self.factor) * self.factor for side in size_hw]
        return near[0], near[1]


def same_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size unchanged: the model sees the image's own pixels."""
    return size_hw


RESIZES: Mapping[str, Resize] = {
    "none": same_size,
    "qwen2-vl": SmartResize(factor=28),
    "qwen3-vl": SmartResize(factor=32),
}
"""What the processor of a model family does to an image, for the codec "pixels"."""
