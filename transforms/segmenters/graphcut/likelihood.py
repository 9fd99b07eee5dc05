"""Likelihood of a person's clicks, given the depth of each in the error it corrects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.segmenters.graphcut.chamfer import depth_share
from hlmat.transforms.segmenters.graphcut.window import Cell

# A mixture of two annotators: one clicks the deepest pixel of an error, the other anywhere well
# inside it. For each: the share of the greatest depth from which a click counts as deepest, the
# likelihood at the edge relative to the deepest, and the log odds if all clicks are deepest.
_CLICKERS = ((1.0, 0.23, 2.0), (0.5, 0.09, 0.0))


@dataclass(frozen=True, eq=False)
class PastError:
    """An earlier mask and the click that corrected it.

    Attributes:
        labels: bool, the mask before the click. Shape: the window's.
        cell: the click.
    """

    labels: Mask
    cell: Cell

    def depth_share(self, truth: Mask) -> float:
        """Return the click's share of depth in the mask's error if `truth` is right, in [0, 1].

        Args:
            truth: bool, hypothetical true labels. Shape: the window's.
        """
        row, column, is_positive = self.cell
        missed, wrong = truth & ~self.labels, self.labels & ~truth
        if not (missed.any() or wrong.any()):
            return 1.0
        if not (missed if is_positive else wrong)[row, column]:
            return 0.0
        return depth_share(missed + 2 * wrong.view(np.uint8), row, column)


def click_likelihood(shares: Sequence[tuple[float, float]]) -> float:
    """Return the log likelihood of the clicks, up to a constant.

    Args:
        shares: weight of each click, and its depth as a share of the error's greatest, in [0, 1].
    """
    by_kind = [
        odds
        + sum(
            weight * math.log((min(share / deep_enough, 1.0) + edge) / (1 + edge))
            for weight, share in shares
        )
        for deep_enough, edge, odds in ((d, e / (1 - e), o) for d, e, o in _CLICKERS)
    ]
    return float(np.logaddexp.reduce(by_kind))
