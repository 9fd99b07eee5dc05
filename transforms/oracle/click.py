"""The oracle's click: the next click of an annotator who knows the ground truth.

The definition is that of RITM (Sofiiuk et al. 2021), also used by SimpleClick and others, with two
deliberate differences. First, no error means no click. Second, depths are compared exactly, as
OpenCV's own distance transform does below 2048 pixels; where OpenCV uses Intel's library instead
(small images, or a single thread), the last bit of equal depths depends on the alignment of the
buffer, so ties would be broken differently from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.masks.rle import Part, joint_part
from hlmat.transforms.oracle.distance import DepthSearch


def error_regions(
    prediction: Mask, truth: Mask, *, ignore: Mask | None = None
) -> tuple[Mask, Mask]:
    """Return the false negatives and the false positives, ignored pixels in neither.

    Args:
        prediction: bool. Shape: (H, W).
        truth: bool. Shape: (H, W).
        ignore: bool, or None. Shape: (H, W).

    Raises:
        ValueError: the masks differ in shape or are not bool.
    """
    _check_shapes(prediction, truth, ignore=ignore)
    # On bool arrays a > b is a & ~b in one pass.
    false_negative = np.greater(truth, prediction)
    false_positive = np.greater(prediction, truth)
    if ignore is not None:
        np.greater(false_negative, ignore, out=false_negative)
        np.greater(false_positive, ignore, out=false_positive)
    return false_negative, false_positive


def oracle_click(
    prediction: Mask,
    truth: Mask,
    *,
    ignore: Mask | None = None,
    clicked: Sequence[Click] = (),
    part: Part | None = None,
) -> Click | None:
    """Click the deepest pixel of the deeper error region.

    Depth is the exact Euclidean distance to the nearest pixel outside the region; beyond the
    image's border everything is outside. The click is positive only if the false negatives are
    strictly deeper; of equally deep pixels the first in row-major order is clicked.

    Args:
        prediction: bool. Shape: (H, W).
        truth: bool. Shape: (H, W).
        ignore: pixels never counted as an error, bool or None. Shape: (H, W).
        clicked: clicks already made; their pixels are not clicked again.
        part: rows and columns that contain every True pixel of prediction and truth; None to
            compute them.

    Returns:
        None if no error is left other than pixels already clicked.

    Raises:
        ValueError: the masks differ in shape or are not bool.

    >>> truth = np.zeros((5, 7), dtype=np.bool_)
    >>> truth[1:4, 3:6] = True
    >>> oracle_click(np.zeros_like(truth), truth)
    Click(x=4, y=2, is_positive=True)
    """
    _check_shapes(prediction, truth, ignore=ignore)
    inside = joint_part(prediction, truth) if part is None else part
    if inside is None:
        return None
    # No error lies outside this part, so its border acts like the image's.
    y0, x0 = inside[0].start, inside[1].start
    false_negative, false_positive = error_regions(
        prediction[inside], truth[inside], ignore=None if ignore is None else ignore[inside]
    )
    excluded = [(click.x - x0, click.y - y0) for click in clicked]
    negatives, positives = DepthSearch(false_negative), DepthSearch(false_positive)
    # Search the region with the higher bound first; often the other's bound then rules it out.
    # False positives win ties, so they only have to match; false negatives must be deeper.
    if negatives.bound > positives.bound:
        missed = negatives.deepest(excluded=excluded)
        wrong = positives.deepest(excluded=excluded, at_least=missed.squared_depth if missed else 1)
        found, is_positive = (missed, True) if wrong is None else (wrong, False)
    else:
        wrong = positives.deepest(excluded=excluded)
        missed = negatives.deepest(
            excluded=excluded, at_least=wrong.squared_depth + 1 if wrong else 1
        )
        found, is_positive = (wrong, False) if missed is None else (missed, True)
    return None if found is None else Click(found.x + x0, found.y + y0, is_positive)


def _check_shapes(prediction: Mask, truth: Mask, *, ignore: Mask | None) -> None:
    for name, mask in (("prediction", prediction), ("ignore", ignore)):
        if mask is not None and (mask.shape != truth.shape or mask.dtype != np.bool_):
            raise ValueError(
                f"{name} must be bool of the truth's shape {truth.shape}, "
                f"got {mask.dtype} {mask.shape}"
            )
    if truth.dtype != np.bool_ or truth.ndim != 2:
        raise ValueError(f"truth must be bool of shape (H, W), got {truth.dtype} {truth.shape}")
