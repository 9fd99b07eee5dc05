"""What a model is shown of a state: the image under the current mask, reduced to a bounded size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2

from hlmat.transforms.core.options import options
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.prompting.coordinates import CoordinateCodec, Resize
from hlmat.transforms.prompting.options import StateStyle
from hlmat.transforms.prompting.overlay import draw_mask


@dataclass(frozen=True)
class ReducedSize:
    """The resize of an image whose longer side may not exceed a bound, before another resize.

    Attributes:
        max_side: in pixels; None for no bound.
        then: what the model's processor does to the reduced image.
    """

    max_side: int | None
    then: Resize

    def __call__(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that the model sees."""
        return self.then(reduced_size(size_hw, max_side=self.max_side))


@options
class StateView(StateStyle):
    """Draws states as its settings say."""

    def draw(self, image: Image, mask: Mask | None) -> Image:
        """Return the image under the mask, reduced; the image alone where there is no mask.

        Reduced after drawing, so that a thin mask fades instead of vanishing.
        """
        if mask is not None:
            image = draw_mask(image, mask, colour=self.colour, opacity=self.opacity)
        size_hw = (image.shape[0], image.shape[1])
        height, width = reduced_size(size_hw, max_side=self.max_side)
        if (height, width) != size_hw:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # pyright: ignore[reportAssignmentType]
        return image

    def seen_through(self, codec: CoordinateCodec) -> CoordinateCodec:
        """Return the codec for points of whole images whose model sees the reduced ones."""
        return replace(codec, resize=ReducedSize(self.max_side, then=codec.resize))


def reduced_size(size_hw: tuple[int, int], *, max_side: int | None) -> tuple[int, int]:
    """Return the (height, width) of an image after its reduction, rounded to whole pixels."""
    longer = max(size_hw)
    if max_side is None or longer <= max_side:
        return size_hw
    height, width = (max(1, (2 * s * max_side + longer) // (2 * longer)) for s in size_hw)
    return height, width
