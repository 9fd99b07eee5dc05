"""Draw a state for a model: the image under the current mask, reduced to a bounded size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2

from hlmat.transforms.core.options import options
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.options import StateStyle
from hlmat.transforms.prompting.overlay import draw_mask
from hlmat.transforms.prompting.resizes import Resize


@dataclass(frozen=True)
class ReducedSize:
    """The resize of an image to bounds on its longer side and its area, before another resize.

    Attributes:
        max_side: in pixels; None for no bound.
        then: what the model's processor does to the reduced image.
        max_pixels: bound on the area; None for no bound.
    """

    max_side: int | None
    then: Resize
    max_pixels: int | None = None

    def __call__(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that the model sees."""
        return self.then(reduced_size(size_hw, max_side=self.max_side, max_pixels=self.max_pixels))


@options
class StateView(StateStyle):
    """Draws states as its settings say."""

    def draw(self, image: Image, mask: Mask | None) -> Image:
        """Return the image under the mask, reduced; without a mask, the image alone.

        Reduced after drawing, so that a thin mask fades instead of vanishing.
        """
        if mask is not None:
            image = draw_mask(image, mask, colour=self.colour, opacity=self.opacity)
        size_hw = (image.shape[0], image.shape[1])
        height, width = self.reduced(size_hw)
        if (height, width) != size_hw:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # pyright: ignore[reportAssignmentType]
        return image

    def reduced(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) at which an image of (height, width) is drawn."""
        return reduced_size(size_hw, max_side=self.max_side, max_pixels=self.max_pixels)

    def seen_through(self, codec: CoordinateCodec) -> CoordinateCodec:
        """Return the codec for points of whole images whose model sees the reduced ones."""
        resize = ReducedSize(self.max_side, then=codec.resize, max_pixels=self.max_pixels)
        return replace(codec, resize=resize)


def reduced_size(
    size_hw: tuple[int, int], *, max_side: int | None, max_pixels: int | None = None
) -> tuple[int, int]:
    """Return the (height, width) of an image after its reduction.

    Sides are rounded to whole pixels for `max_side` and down for `max_pixels`, so that the area
    never exceeds it.
    """
    height, width = size_hw
    longer = max(size_hw)
    if max_side is not None and longer > max_side:
        height, width = (max(1, (2 * s * max_side + longer) // (2 * longer)) for s in size_hw)
    if max_pixels is not None and height * width > max_pixels:
        height, width = (
            min(max_pixels, max(1, math.isqrt(a * max_pixels // b)))
            for a, b in ((height, width), (width, height))
        )
    return height, width
