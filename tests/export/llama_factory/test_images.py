"""Images of states as files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from builders import columns, target
from hlmat.export.llama_factory.images import MAX_JPEG_SIDE, StateImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Shown
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason


def grey(image_path: str, *, size_hw: tuple[int, int]) -> Image:
    return np.full((*size_hw, 3), 180, np.uint8)


def test_a_side_is_at_most_what_jpeg_can_write() -> None:
    longest = target(columns(1, size_hw=(2, MAX_JPEG_SIDE)), "t")
    images = StateImages(grey, LlamaFactoryOptions())
    data = images.encoded(images.drawn(longest, Shown(None, "image")))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (2, MAX_JPEG_SIDE, 3)
    longer = target(columns(1, size_hw=(2, MAX_JPEG_SIDE + 1)), "t", image_path="a.png")
    with pytest.raises(TargetError, match=r"^too_large: a\.png has 65501 x 2 pixels") as error:
        images.drawn(longer, Shown(None, "image"))
    assert error.value.reason is RejectReason.TOO_LARGE
    images = StateImages(grey, LlamaFactoryOptions(image_format="png"))
    assert images.encoded(images.drawn(longer, Shown(None, "image")))[:4] == b"\x89PNG"
