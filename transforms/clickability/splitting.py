"""Clicks split by image into a part to fit and a part to judge the fit with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.clickability.choices import ClickedError
from hlmat.transforms.core.rng import target_rng


def split_by_image(
    errors: Sequence[ClickedError], *, held_out: float, seed: int
) -> tuple[list[ClickedError], list[ClickedError]]:
    """Return the errors to fit and those held out; an image is in one of them.

    Args:
        errors: of at least 2 images.
        held_out: the share of images to hold out, above 0 and below 1; at least 1 image is in each
            part.
        seed: chooses the images, whatever the order of the errors.

    Raises:
        ValueError: there are fewer than 2 images.
    """
    images = sorted({error.image for error in errors})
    if len(images) < 2:
        raise ValueError(f"expected errors of at least 2 images, got {len(images)}")
    count = min(max(round(held_out * len(images)), 1), len(images) - 1)
    order = np.argsort([target_rng(seed, image, "held out").random() for image in images])
    chosen = {images[place] for place in order[:count]}
    fitted = [error for error in errors if error.image not in chosen]
    return fitted, [error for error in errors if error.image in chosen]
