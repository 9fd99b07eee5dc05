"""Geometric quality of a click: its depth in the error, relative to the oracle's click."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.oracle.click import error_regions, oracle_click


def relative_depth(
    click: Click,
    mask: Mask,
    truth: Mask,
    *,
    ignore: Mask | None = None,
    clicked: Sequence[Click] = (),
) -> float:
    """Return a click's depth in its error region, divided by that of the oracle's click.

    The region of a positive click is the false negatives, of a negative click the false positives.

    Args:
        click: inside the image, in pixels.
        mask: bool, the mask before the click. Shape: (H, W).
        truth: bool, ground truth. Shape: (H, W).
        ignore: bool, pixels that are never an error, or None. Shape: (H, W).
        clicked: earlier clicks; their depth is 0.

    Returns:
        In [0, 1]: 0 outside the region, 1 for the oracle's click and any other of equal depth.

    >>> truth = np.zeros((5, 7), dtype=np.bool_)
    >>> truth[1:4, 2:7] = True
    >>> relative_depth(Click(5, 1, True), np.zeros_like(truth), truth)
    0.5
    """
    oracle = oracle_click(mask, truth, ignore=ignore, clicked=clicked)
    if oracle is None or any((c.x, c.y) == (click.x, click.y) for c in clicked):
        return 0.0
    missed, wrong = error_regions(mask, truth, ignore=ignore)
    reference = squared_depth(missed if oracle.is_positive else wrong, x=oracle.x, y=oracle.y)
    depth = squared_depth(missed if click.is_positive else wrong, x=click.x, y=click.y)
    return math.sqrt(depth / reference)


def squared_depth(region: Mask, *, x: int, y: int) -> int:
    """Return the exact squared distance from a pixel to the nearest pixel outside a region.

    In square pixels; 0 for a pixel outside the region. Everything beyond the image is outside.

    Args:
        region: bool. Shape: (H, W).
        x: column of the pixel, inside the image.
        y: row of the pixel, inside the image.
    """
    height, width = region.shape
    reach = min(x + 1, width - x, y + 1, height - y)
    x0, y0 = max(0, x - reach), max(0, y - reach)
    rows, columns = np.nonzero(~region[y0 : y + reach + 1, x0 : x + reach + 1])
    distances = (rows + y0 - y) ** 2 + (columns + x0 - x) ** 2
    return int(distances.min(initial=reach * reach))
