"""Observations: image, mask and clicks of a state as arrays of one size for all targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.envs.state import AnnotationState
from hlmat.transforms.prompting.overlay import draw_clicks, draw_mask

Plane = NDArray[np.uint8]
"""Shape: (H, W)."""


@dataclass(frozen=True)
class ObservationView:
    """Resize states to one size; the aspect ratio is not kept.

    Attributes:
        size_hw: (height, width) of every observation.
        click_radius: radius of a click's disc in pixels of the observation; 0 marks one pixel.
    """

    size_hw: tuple[int, int]
    click_radius: int

    def observe(self, state: AnnotationState) -> dict[str, NDArray[np.uint8]]:
        """Return new uint8 arrays `image` (H, W, 3), `mask` (H, W) and `clicks` (H, W, 2)."""
        return {
            "image": self.resized(state.target.image),
            "mask": self.mask_plane(state.mask),
            "clicks": self.click_planes(state.clicks, size_hw=state.target.size_hw),
        }

    def draw(self, state: AnnotationState) -> Image:
        """Draw mask and clicks on the image and resize it. Returns uint8 RGB, (H, W, 3)."""
        return self.resized(draw_clicks(draw_mask(state.target.image, state.mask), state.clicks))

    def mask_plane(self, mask: Mask) -> Plane:
        """Return the share of each observation pixel that the mask covers, as uint8 0 to 255."""
        return self.resized(mask.view(np.uint8) * np.uint8(255))

    def click_planes(self, clicks: Iterable[Click], *, size_hw: tuple[int, int]) -> Image:
        """Draw clicks as discs of 255: positive ones in channel 0, negative ones in channel 1.

        Args:
            clicks: in pixels of the image.
            size_hw: (height, width) of the image.

        Returns:
            uint8. Shape: (H, W, 2).
        """
        planes = np.zeros((2, *self.size_hw), dtype=np.uint8)
        for click in clicks:
            centre = (
                rescaled(click.x, length=size_hw[1], to=self.size_hw[1]),
                rescaled(click.y, length=size_hw[0], to=self.size_hw[0]),
            )
            plane = planes[0 if click.is_positive else 1]
            cv2.circle(plane, centre, self.click_radius, 255, cv2.FILLED)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def resized(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy of the observation's size: averaged if a side shrinks, else bilinear."""
        size_hw = values.shape[:2]
        if size_hw == self.size_hw:
            return values.copy()
        grows = size_hw[0] < self.size_hw[0] and size_hw[1] < self.size_hw[1]
        how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
        return np.asarray(cv2.resize(values, self.size_hw[::-1], interpolation=how), np.uint8)


def rescaled(pixel: int, *, length: int, to: int) -> int:
    """Map a pixel of an axis of `length` pixels to the one at its centre on an axis of `to`.

    >>> rescaled(0, length=2, to=10), rescaled(9, length=10, to=2)
    (2, 1)
    """
    return (2 * pixel + 1) * to // (2 * length)
