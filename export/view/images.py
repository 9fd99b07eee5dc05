"""The page's images: encoded, reduced, or drawn as a model sees them."""

from __future__ import annotations

import cv2
import numpy as np

from hlmat.export.llama_factory.images import MAX_JPEG_SIDE
from hlmat.transforms.core.protocols import Image

THUMBNAIL_SIDE = 320
_THUMBNAIL_QUALITY = 80
_QUALITY = 90


def thumbnail(image: Image) -> bytes:
    """Return a small JPEG of an image."""
    return _jpeg(reduced(image, THUMBNAIL_SIDE), _THUMBNAIL_QUALITY)


def whole_image(image: Image, *, max_side: int | None) -> bytes:
    """Return a JPEG of an image, reduced if a side is longer than `max_side` or JPEG can have."""
    return _jpeg(reduced(image, min(max_side or MAX_JPEG_SIDE, MAX_JPEG_SIDE)), _QUALITY)


def reduced(image: Image, max_side: int) -> Image:
    """Return an image whose longer side has at most `max_side` pixels."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= max_side:
        return image
    size_wh = tuple(max(1, round(side * max_side / longer)) for side in (width, height))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: Image, quality: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
