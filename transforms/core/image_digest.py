"""A digest of an image's pixels, unchanged by turning, mirroring or re-saving without loss."""

from __future__ import annotations

import hashlib
from itertools import product

import cv2
import numpy as np

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason, Target

_ROWS_AT_ONCE = 256


def image_digest(image: Image) -> str:
    """Return 32 hex digits of the sha256 of an image's pixels in a canonical position.

    Pixels and not bytes: a file that was re-saved without loss, with other metadata or turned by
    its EXIF tag, is the same image. Copies that lossy compression or scaling changed are not found.

    The position is that among the eight of the square whose width, and then the sums of whose
    quarters, are largest; of several the one with the smallest digest counts. So an image is moved
    and hashed once, as a rule.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).

    >>> import numpy as np
    >>> image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    >>> image_digest(image) == image_digest(np.rot90(image)) == image_digest(image[:, ::-1])
    True
    """
    height, width = image.shape[:2]
    rows = (slice(height // 2), slice(height - height // 2, height))
    columns = (slice(width // 2), slice(width - width // 2, width))
    quarters = [_sum(image[r, c]) for r in rows for c in columns]
    ranks = {
        position: (height if position[0] % 2 else width, [quarters[i] for i in order])
        for position, order in _QUARTERS_AT.items()
    }
    largest = max(ranks.values())
    return min(_digest(_moved(image, *p)) for p, rank in ranks.items() if rank == largest)


def check_same_image(image: Image, target: Target) -> None:
    """Check that an image still has the pixels that a target's trajectory was made with.

    A target without a digest is not checked. Turned or mirrored, an image counts as the same.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        target: read from a run.

    Raises:
        TargetError: CHANGED_IMAGE.
    """
    if target.image_digest is not None and image_digest(image) != target.image_digest:
        raise TargetError(
            RejectReason.CHANGED_IMAGE,
            f"{target.ref.image_path} has other pixels than when the run was made, so clicks and "
            "masks may not line up with their objects; restore the image, or make the run again",
        )


def _sum(part: Image) -> int:
    # Exact: sums of whole numbers stay far below 2 ** 53.
    return int(sum(cv2.sumElems(part)))


def _moved(array: np.ndarray, turns: int, is_mirrored: bool) -> np.ndarray:
    turned = np.rot90(array, turns)
    return turned[:, ::-1] if is_mirrored else turned


_QUARTERS_AT = {
    position: _moved(np.arange(4).reshape(2, 2), *position).ravel().tolist()
    for position in product(range(4), (False, True))
}
"""The quarters of an image in row-major order, for each turn and mirroring."""


def _digest(image: np.ndarray) -> str:
    digest = hashlib.sha256(repr(image.shape).encode())
    # Row by row: a large image is not copied whole.
    for first in range(0, image.shape[0], _ROWS_AT_ONCE):
        digest.update(_copied(image[first : first + _ROWS_AT_ONCE]).data)
    return digest.hexdigest()[:32]


def _copied(view: np.ndarray) -> np.ndarray:
    """Return a turned or mirrored view in C order; OpenCV moves pixels faster than NumPy."""
    down, right, _ = view.strides
    part = view[:: 1 if down > 0 else -1, :: 1 if right > 0 else -1]
    if abs(down) < abs(right):
        part = cv2.transpose(part.transpose(1, 0, 2))
    if down < 0 or right < 0:
        part = cv2.flip(part, -1 if down < 0 and right < 0 else 0 if down < 0 else 1)
    return np.ascontiguousarray(part)
