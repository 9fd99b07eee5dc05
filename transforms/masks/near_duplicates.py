"""Images that look the same: copies saved again, resized, or slightly changed in brightness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image

_SIDE = 16
_MOST_BITS = 15
"""Of 256 bits, how many may differ."""
_BANDS = _MOST_BITS + 1
_MOST_LEVELS = 6.0
"""Mean difference of two thumbnails, of 256 levels, up to which they look the same."""


@dataclass(frozen=True)
class Look:
    """What an image looks like, in 800 bytes.

    Attributes:
        bits: whether brightness rises from one cell of a grid to the next on its right, 16 by 16
            cells: the difference hash of Krawetz, "Kind of Like That" (2013). Shape: (256,), bool.
        thumbnail: uint8 RGB. Shape: (16, 16, 3).
    """

    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]


def look_of(image: Image) -> Look:
    """Return what an image looks like.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Look((cells[:, 1:] > cells[:, :-1]).ravel(), small.astype(np.uint8))


def near_duplicates(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Yield each pair of images that look the same, by index, the smaller first.

    Two images with at most 15 different bits agree on one of 16 groups of bits, so only images
    that share a group are compared.
    """
    groups = np.array_split(np.arange(_SIDE * _SIDE), _BANDS)
    seen: set[tuple[int, int]] = set()
    for group in groups:
        alike: defaultdict[bytes, list[int]] = defaultdict(list)
        for index, look in enumerate(looks):
            mine = look.bits[group].tobytes()
            for other in alike[mine]:
                if (other, index) not in seen and _look_the_same(looks[other], look):
                    seen.add((other, index))
            alike[mine].append(index)
    yield from sorted(seen)


def _look_the_same(a: Look, b: Look) -> bool:
    if np.count_nonzero(a.bits != b.bits) > _MOST_BITS:
        return False
    difference = a.thumbnail.astype(np.float32) - b.thumbnail
    # A change of brightness is the same for all cells.
    difference -= difference.mean(axis=(0, 1))
    return float(np.abs(difference).mean()) <= _MOST_LEVELS
