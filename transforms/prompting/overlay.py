"""Drawing on images: a half-transparent mask, clicks, boxes and outlines."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.masks.rle import mask_box
from hlmat.transforms.prompting.options import COLOURS, DEFAULT_COLOUR, DEFAULT_OPACITY

_POSITIVE = (0, 200, 0)
_NEGATIVE = (230, 0, 0)
_WHITE = (255, 255, 255)


def draw_mask(
    image: Image, mask: Mask, *, colour: str = DEFAULT_COLOUR, opacity: float = DEFAULT_OPACITY
) -> Image:
    """Return a copy of an image with a mask laid over it, half-transparent.

    Args:
        image: uint8 RGB. Shape: (H, W, 3). Stays as it is.
        mask: bool. Shape: (H, W).
        colour: one of `COLOURS`.
        opacity: share of the colour inside the mask, 0 to 1.

    Raises:
        ValueError: another shape, colour or opacity.

    >>> image = np.zeros((1, 2, 3), dtype=np.uint8)
    >>> draw_mask(image, np.array([[False, True]]), colour="green", opacity=0.5)[0].tolist()
    [[0, 0, 0], [0, 128, 0]]
    """
    if image.shape != (*mask.shape, 3):
        raise ValueError(f"a mask of shape {mask.shape} does not fit an image of {image.shape}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1, got {opacity}")
    rgb = colour_rgb(colour)
    result = image.copy()
    box = mask_box(mask)
    if box is None:
        return result
    window = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    part = np.ascontiguousarray(result[window])
    tint = np.empty_like(part)
    tint[:] = rgb
    blended = cv2.addWeighted(part, 1 - opacity, tint, opacity, 0)
    inside = np.ascontiguousarray(mask[window]).view(np.uint8)
    result[window] = cv2.copyTo(blended, inside, part)
    return result


def draw_outline(
    image: Image, mask: Mask, *, colour: str = DEFAULT_COLOUR, thickness: int | None = None
) -> Image:
    """Return a copy of an image with the contour of a mask, holes included.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        mask: bool. Shape: (H, W).
        colour: one of `COLOURS`.
        thickness: in pixels; by the size of the image if None.
    """
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = scaled_radius(image) // 3 if thickness is None else thickness
    return np.asarray(
        cv2.drawContours(image.copy(), contours, -1, colour_rgb(colour), max(1, width)),
        dtype=np.uint8,
    )


def draw_clicks(image: Image, clicks: Iterable[Click], *, radius: int | None = None) -> Image:
    """Return a copy of an image with clicks as discs with a white rim: positive ones green.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        clicks: in the image's pixels; later ones are drawn over earlier ones.
        radius: of a disc in pixels; by the size of the image if None.
    """
    result = image.copy()
    size = scaled_radius(image) if radius is None else radius
    for click in clicks:
        centre = (click.x, click.y)
        rim = max(1, size // 3)
        cv2.circle(result, centre, size + rim, _WHITE, cv2.FILLED, cv2.LINE_AA)
        inside = _POSITIVE if click.is_positive else _NEGATIVE
        cv2.circle(result, centre, size, inside, cv2.FILLED, cv2.LINE_AA)
        bar = max(1, size // 2)
        cv2.line(result, (click.x - bar, click.y), (click.x + bar, click.y), _WHITE, rim)
        if click.is_positive:
            cv2.line(result, (click.x, click.y - bar), (click.x, click.y + bar), _WHITE, rim)
    return result


def draw_box(image: Image, box: Box, *, thickness: int | None = None) -> Image:
    """Return a copy of an image with the outermost pixels of a box drawn white on black."""
    width = max(1, scaled_radius(image) // 3) if thickness is None else thickness
    result = image.copy()
    corners = (box.x0, box.y0), (box.x1 - 1, box.y1 - 1)
    cv2.rectangle(result, *corners, (0, 0, 0), 3 * width)
    cv2.rectangle(result, *corners, _WHITE, width)
    return result


def colour_rgb(name: str) -> tuple[int, int, int]:
    """Return a colour by name.

    Raises:
        ValueError: not one of `COLOURS`.
    """
    if name not in COLOURS:
        raise ValueError(f"unknown colour {name!r}, expected one of {', '.join(COLOURS)}")
    return COLOURS[name]


def scaled_radius(image: Image) -> int:
    """Return the radius of a click's disc that shows well on an image of this size."""
    return max(3, round(0.012 * max(image.shape[:2])))
