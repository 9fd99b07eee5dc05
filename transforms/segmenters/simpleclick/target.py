"""One target of SimpleClick: its requests, and its state between clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.simpleclick.zoom import NETWORK_SIDE, Crop, next_crop, object_crop

if TYPE_CHECKING:
    import torch

MASK_THRESHOLD = 0.49
"""Probability threshold of the mask; that of the crop is in `object_crop`."""


@dataclass(frozen=True, eq=False)
class TargetState:
    """A target's state between two clicks; SimpleClick's feedback.

    Attributes:
        probabilities: float32 in [0, 1], not writeable, 0 outside the crop. Shape: (H, W).
        crop: the part of the image that the last prediction used.
    """

    probabilities: NDArray[np.float32]
    crop: Crop

    @classmethod
    def of_mask(cls, mask: Mask) -> TargetState:
        """Return the state as if this mask had been predicted with certainty. Shape: (H, W)."""
        probabilities = mask.astype(np.float32)
        probabilities.flags.writeable = False
        size_hw = (mask.shape[0], mask.shape[1])
        return cls(probabilities, object_crop((), size_hw=size_hw, probabilities=probabilities))


@dataclass(frozen=True, eq=False)
class TargetRequest:
    """A request prepared for the network.

    Attributes:
        image: uint8 RGB, on the network's device. Shape: (3, H, W).
        previous: probabilities of its last prediction, None before the first. Shape: (H, W).
        crop: the part of the image that the network sees.
    """

    image: torch.Tensor
    clicks: tuple[Click, ...]
    previous: NDArray[np.float32] | None
    crop: Crop

    @classmethod
    def of(cls, image: torch.Tensor, request: Request) -> TargetRequest:
        """Check a request and choose the crop.

        Raises:
            ValueError, SegmenterError: as `SimpleClick.predict`.
        """
        size_hw = (int(image.shape[1]), int(image.shape[2]))
        state = _checked_state(request, size_hw=size_hw)
        previous, kept = (state.probabilities, state.crop) if state else (None, None)
        crop = next_crop(request.clicks, size_hw=size_hw, probabilities=previous, kept=kept)
        return cls(image, request.clicks, previous, crop)

    def network_input(self) -> torch.Tensor:
        """Return the crop's colours in [0, 1] and previous probabilities. (1, 4, 448, 448)."""
        import torch

        colours = self.image[:, *self.crop.slices].to(torch.float32) / 255
        previous = torch.zeros_like(colours[:1])
        if self.previous is not None:
            previous[0] = torch.tensor(self.previous[self.crop.slices])
        return _resized(torch.cat([colours, previous])[None], (NETWORK_SIDE, NETWORK_SIDE))

    def prediction(self, probabilities: torch.Tensor) -> Prediction:
        """Resize the crop's probabilities (1, 1, 448, 448) back into the image."""
        whole = np.zeros(self.image.shape[1:], np.float32)
        part = _resized(probabilities, self.crop.size_hw)
        whole[self.crop.slices] = part[0, 0].cpu().numpy()
        whole.flags.writeable = False
        return Prediction(mask=whole > MASK_THRESHOLD, feedback=TargetState(whole, self.crop))


def check_image(image: Image) -> None:
    """Raise SegmenterError unless an image is uint8 RGB of shape (H, W, 3) and has pixels."""
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        seen = f"{image.dtype} {image.shape}" if is_array else f"a {type(image).__name__}"
        raise SegmenterError(
            "SimpleClick needs an image of uint8 RGB of shape (H, W, 3), got "
            f"{seen}; convert it first"
        )
    if not image.size:
        raise SegmenterError(f"SimpleClick needs an image with pixels, got shape {image.shape}")


def _checked_state(request: Request, *, size_hw: tuple[int, int]) -> TargetState | None:
    """Return a request's feedback, None for a new target.

    Args:
        request: the request to check.
        size_hw: height and width of the current image.

    Raises:
        ValueError: a box was given.
        SegmenterError: no click, a click outside the image, or feedback from another tool or for an
            image of another size.
    """
    if request.box is not None:
        raise ValueError(
            f"SimpleClick is prompted with clicks alone, but got {request.box}; leave boxes out, "
            "or use a segmenter that takes them, such as 'sam'"
        )
    if not request.clicks:
        raise SegmenterError("SimpleClick needs at least one click")
    height, width = size_hw
    for click in request.clicks:
        if not (0 <= click.x < width and 0 <= click.y < height):
            raise SegmenterError(f"{click} lies outside the image of {width} x {height} pixels")
    state = request.feedback
    if state is None:
        return None
    if not isinstance(state, TargetState):
        raise SegmenterError(
            f"SimpleClick was given feedback of type {type(state).__name__}; hand back what its "
            "own last prediction for the target returned, or None"
        )
    if state.probabilities.shape != size_hw:
        raise SegmenterError(
            f"the feedback is of an image of shape {state.probabilities.shape}, the current one "
            f"has {size_hw}; feedback belongs to one target of one image"
        )
    return state


def _resized(images: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    from torch.nn import functional

    return functional.interpolate(images, size_hw, mode="bilinear", align_corners=True)
