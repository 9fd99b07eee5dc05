"""Images of states as files: each written once, the plain image once for all its targets."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Protocol

import cv2

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Shown
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import Target, TargetRef
from hlmat.transforms.masks.rle import decode_rle


class ImageLoader(Protocol):
    """Loads a target's image, as `DatasetReader.load_image` does."""

    def __call__(self, image_path: str, *, size_hw: tuple[int, int]) -> Image: ...


class ImageFiles:
    """Writes images of states below a folder.

    Args:
        folder: of the data set.
        load_image: loads an image; again if its targets are not adjacent.
        options: how states are drawn and stored.

    Attributes:
        written: the number of files so far.
    """

    def __init__(self, folder: str, load_image: ImageLoader, options: LlamaFactoryOptions) -> None:
        self.written = 0
        self._folder = folder
        self._load_image = load_image
        self._options = options
        self._image: tuple[tuple[str, str, tuple[int, int]], Image] | None = None

    def write(self, target: Target, shown: Shown) -> str:
        """Write the image of a state unless it exists; return its name below the folder."""
        name = image_name(target, shown, suffix=self._options.image_format)
        path = os.path.join(self._folder, name)
        if os.path.exists(path):
            return name
        image = self._loaded(target.ref, target.size_hw)
        mask = None if shown.mask is None else decode_rle(shown.mask)
        drawn = self._options.view.draw(image, mask)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(self._encoded(drawn))
        self.written += 1
        return name

    def _loaded(self, ref: TargetRef, size_hw: tuple[int, int]) -> Image:
        key = (ref.dataset, ref.image_path, size_hw)
        if self._image is None or self._image[0] != key:
            self._image = (key, self._load_image(ref.image_path, size_hw=size_hw))
        return self._image[1]

    def _encoded(self, image: Image) -> bytes:
        parameters = (
            [cv2.IMWRITE_JPEG_QUALITY, self._options.jpeg_quality]
            if self._options.image_format == "jpg"
            else []
        )
        encoded = cv2.imencode(
            f".{self._options.image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters
        )[1]
        return encoded.tobytes()


def image_name(target: Target, shown: Shown, *, suffix: str) -> str:
    """Return a name that any file system accepts, the same in every export."""
    ref = target.ref
    owner = [ref.image_path, *target.size_hw] if shown.mask is None else [ref.target_id]
    identity = json.dumps([ref.dataset, ref.split, *owner])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
    label = "image" if shown.mask is None else shown.label
    return f"images/{digest[:2]}/{digest}-{label}.{suffix}"
