"""A fake segmenter for tests and benchmarks: the pixels that are as red as the clicked pixel.

Use it by dotted path: ``--segmenter hlmat.transforms.segmenters.flat_colour:FlatColourSegmenter``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hlmat.transforms.core.protocols import Image, Prediction, Request
from hlmat.transforms.core.records import Box, Click


class FlatColourSegmenter:
    """Segment drawn objects that differ in their red, exactly and at the first click.

    Args:
        sleep_ms: how long each call sleeps, in place of a device that computes meanwhile.
    """

    leaves_cpu_free = False

    def __init__(self, sleep_ms: float = 0.0) -> None:
        self._sleep_s = sleep_ms / 1e3
        self._encoded: Any = None

    def set_image(self, image: Image) -> None:
        """Store the image."""
        self._encoded = self.encode_images([image])[0]

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        """Return the pixels that are as red as the last click's, bool of shape (H, W)."""
        return self.predict_batch([Request(clicks=tuple(clicks), box=box, feedback=feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """As `predict`, for several targets."""
        return self.predict_many([(self._encoded, request) for request in requests])

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        """Return the red of each image. Shape: (H, W)."""
        return [np.ascontiguousarray(image[..., 0]) for image in images]

    def predict_many(self, pairs: Sequence[tuple[Any, Request]]) -> list[Prediction]:
        """As `predict`, for targets of several images."""
        time.sleep(self._sleep_s)
        return [_prediction(red, request.clicks) for red, request in pairs]


def _prediction(red: Any, clicks: Sequence[Click]) -> Prediction:
    if not clicks:
        return Prediction(mask=np.zeros(red.shape, np.bool_))
    return Prediction(mask=red == red[clicks[-1].y, clicks[-1].x])
