"""A fake segmenter for tests: paints a disc at positive clicks, erases one at negative clicks.

Use it by dotted path: ``--segmenter hlmat.transforms.segmenters.disc:DiscSegmenter``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Prediction
from hlmat.transforms.core.records import Box, Click


class DiscSegmenter:
    """Segment without looking at the image.

    Args:
        radius: of the discs, in pixels.
    """

    def __init__(self, radius: int = 8) -> None:
        self._radius = radius
        self._shape = (0, 0)

    def set_image(self, image: Image) -> None:
        """Store the image's size."""
        self._shape = image.shape[:2]

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        """Fill the box, then paint or erase a disc per click, oldest first.

        Returns:
            A bool mask of shape (H, W); its feedback is the number of clicks.
        """
        canvas = np.zeros(self._shape, dtype=np.uint8)
        if box is not None:
            canvas[box.y0 : box.y1, box.x0 : box.x1] = 1
        for click in clicks:
            cv2.circle(canvas, (click.x, click.y), self._radius, int(click.is_positive), -1)
        return Prediction(mask=canvas.view(np.bool_), feedback=len(clicks))
