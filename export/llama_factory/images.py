"""Images of states: drawn, encoded and named; the plain image once for all its targets."""

from __future__ import annotations

import hashlib
import json
from typing import Protocol

import cv2

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Shown
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.image_digest import check_same_image
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason, Target
from hlmat.transforms.masks.rle import decode_rle

MAX_JPEG_SIDE = 65_500
"""The longest side in pixels that libjpeg writes."""


class ImageLoader(Protocol):
    """Loads a target's image, as `DatasetReader.load_image` does."""

    def __call__(self, image_path: str, *, size_hw: tuple[int, int]) -> Image: ...


class StateImages:
    """Draws and encodes states.

    Args:
        load_image: loads an image; again if its targets are not adjacent.
        options: how states are drawn and stored.
    """

    def __init__(self, load_image: ImageLoader, options: LlamaFactoryOptions) -> None:
        self._load_image = load_image
        self._view = options.view
        self._suffix = f".{options.image_format}"
        self._parameters = (
            [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
            if options.image_format == "jpg"
            else []
        )
        self._image: tuple[tuple[str, str, tuple[int, int]], Image] | None = None

    def drawn(self, target: Target, shown: Shown) -> Image:
        """Return a state's image. It may be the loaded one, so it is not to be changed.

        Raises:
            TargetError: the image cannot be loaded, is TOO_LARGE for a JPEG file, or is not the one
                of the run (CHANGED_IMAGE).
        """
        self._check_size(target)
        image = self._loaded(target)
        mask = None if shown.mask is None else decode_rle(shown.mask)
        return self._view.draw(image, mask)

    def plain(self, target: Target) -> Image:
        """Return a target's image at its full size; arguments and errors as above."""
        self._check_size(target)
        return self._loaded(target)

    def encoded(self, drawn: Image) -> bytes:
        """Return the file of a drawn image. Threads may call it at the same time."""
        image = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        return cv2.imencode(self._suffix, image, self._parameters)[1].tobytes()

    def _check_size(self, target: Target) -> None:
        height, width = target.size_hw
        if self._suffix == ".jpg" and max(height, width) > MAX_JPEG_SIDE:
            raise TargetError(
                RejectReason.TOO_LARGE,
                f"{target.ref.image_path} has {width} x {height} pixels, more than the "
                f"{MAX_JPEG_SIDE:,} that a side of a JPEG file can have; use --image-format png",
            )

    def _loaded(self, target: Target) -> Image:
        ref, size_hw = target.ref, target.size_hw
        key = (ref.dataset, ref.image_path, size_hw)
        if self._image is None or self._image[0] != key:
            image = self._load_image(ref.image_path, size_hw=size_hw)
            check_same_image(image, target)
            self._image = (key, image)
        return self._image[1]


def image_name(target: Target, shown: Shown, *, suffix: str) -> str:
    """Return a name that any file system accepts, the same in every export."""
    ref = target.ref
    owner = [ref.image_path, *target.size_hw] if shown.mask is None else [ref.target_id]
    identity = json.dumps([ref.dataset, ref.split, *owner])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
    label = "image" if shown.mask is None else shown.label
    return f"images/{digest[:2]}/{digest}-{label}.{suffix}"
