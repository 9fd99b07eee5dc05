"""The images of rows: drawn one after the other, encoded on threads."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from hlmat.export.llama_factory.images import StateImages
from hlmat.export.llama_factory.samples import Shown
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Rle, Target
from hlmat.transforms.masks.rle import decode_rle

PendingImage = Future[bytes]


class RowImages:
    """Makes the images of rows; each is begun and awaited later, by `finished_row`.

    Args:
        images: loads, draws and encodes them.
        pool: encodes; None encodes at once.
    """

    def __init__(self, images: StateImages, pool: Executor | None) -> None:
        self._images = images
        self._pool = pool
        self._plain: tuple[object, PendingImage] | None = None

    def plain(self, target: Target) -> PendingImage:
        """Return a target's image at its full size, encoded once for all targets in a row.

        Raises:
            TargetError: it cannot be loaded or written.
        """
        key = (target.ref.dataset, target.ref.image_path, target.size_hw)
        if self._plain is None or self._plain[0] != key:
            image = self._images.plain(target)
            self._plain = (key, self._begun(self._images.encoded, image))
        return self._plain[1]

    def state(self, target: Target, mask: Rle | None) -> PendingImage:
        """Return a target's image with a mask drawn over it, as a model sees it; errors as above.

        Args:
            mask: None for the image alone.
        """
        drawn = self._images.drawn(target, Shown(mask, ""))
        if mask is None and drawn.shape[:2] == target.size_hw:
            return self.plain(target)
        return self._begun(self._images.encoded, drawn)

    def mask(self, mask: Rle | None, size_hw: tuple[int, int]) -> PendingImage:
        """Return a mask as a PNG file of one bit per pixel; None is an empty one."""
        return self._begun(_mask_png, mask, size_hw)

    def _begun(self, work: Any, *arguments: Any) -> PendingImage:
        if self._pool is not None:
            return self._pool.submit(work, *arguments)
        future: PendingImage = Future()
        future.set_result(work(*arguments))
        return future


def finished_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its images as `datasets` stores them, once they are encoded."""
    return {
        name: _finished(value) if isinstance(value, (Future, list)) else value
        for name, value in row.items()
    }


def _finished(value: Any) -> Any:
    if isinstance(value, Future):
        return {"bytes": value.result(), "path": None}
    if isinstance(value, list):
        return [_finished(each) for each in value]
    return value


def _mask_png(mask: Rle | None, size_hw: tuple[int, int]) -> bytes:
    if mask is None:
        return _empty_png(size_hw)
    return _png_of(np.ascontiguousarray(decode_rle(mask)))


@lru_cache(maxsize=8)
def _empty_png(size_hw: tuple[int, int]) -> bytes:
    """Most trajectories begin with an empty mask."""
    return _png_of(np.zeros(size_hw, np.bool_))


def _png_of(pixels: Mask) -> bytes:
    image = pixels.view(np.uint8) * np.uint8(255)
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
