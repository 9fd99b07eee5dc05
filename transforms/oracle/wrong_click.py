"""A click on the wrong thing, as the beginning of a rollout that has to recover from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click


def wrong_click(
    truth: Mask,
    *,
    rng: np.random.Generator,
    others: Sequence[Mask] = (),
    excluded: Mask | None = None,
) -> Click | None:
    """Draw a positive click outside the object; None if no pixel is left for it.

    Args:
        truth: the object, bool. Shape: (H, W).
        rng: what the click is drawn with.
        others: the image's objects, bool; the click is on one of them, first each object and then
            each of its pixels equally likely. Without any outside `truth`, it is anywhere outside.
            Shape of each: (H, W).
        excluded: pixels that get no click, bool, or None. Shape: (H, W).
    """
    outside = ~truth if excluded is None else ~truth & ~excluded
    places = [place for place in (outside & other for other in others) if place.any()] or [outside]
    place = places[int(rng.integers(len(places)))] if len(places) > 1 else places[0]
    pixels = np.flatnonzero(place)
    if not pixels.size:
        return None
    (drawn,) = rng.choice(pixels, size=1, replace=False)
    y, x = divmod(int(drawn), truth.shape[1])
    return Click(x, y, is_positive=True)
