"""Images that look the same."""

from __future__ import annotations

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image
from hlmat.transforms.masks.near_duplicates import look_of, near_duplicates


def drawn(seed: int) -> Image:
    """Draw discs of random colours."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 160, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(8):
        x, y, radius = rng.integers(0, 160), rng.integers(0, 120), rng.integers(10, 40)
        cv2.circle(image, (int(x), int(y)), int(radius), rng.integers(0, 255, 3).tolist(), -1)
    return image


def pairs(*images: Image) -> list[tuple[int, int]]:
    return list(near_duplicates([look_of(image) for image in images]))


def test_copies_are_found_and_others_are_not() -> None:
    image = drawn(0)
    saved = cv2.imdecode(cv2.imencode(".jpg", image)[1], cv2.IMREAD_COLOR)
    assert saved is not None
    smaller = cv2.resize(image, (80, 60), interpolation=cv2.INTER_AREA)
    brighter = np.clip(image.astype(np.int16) + 8, 0, 255).astype(np.uint8)
    copies = [image, saved, smaller, brighter]
    others = [drawn(seed) for seed in range(1, 60)]
    found = pairs(*copies, *others)
    assert found == [(a, b) for a in range(4) for b in range(a + 1, 4)]


def test_a_moved_object_makes_another_image() -> None:
    first, second = drawn(0), drawn(0)
    cv2.circle(first, (40, 60), 30, (255, 255, 255), -1)
    cv2.circle(second, (110, 60), 30, (255, 255, 255), -1)
    assert pairs(first, second) == []


def test_empty_images_of_other_colours_differ() -> None:
    grey, other = np.full((40, 40, 3), 90, np.uint8), np.full((40, 40, 3), 90, np.uint8)
    other[:, :20] = (90, 120, 60)
    assert pairs(grey, grey) == [(0, 1)]
    assert pairs(grey, other) == []
