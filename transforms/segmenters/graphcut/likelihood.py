"""How likely a person's clicks are, from how deep in an error each of them lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.segmenters.graphcut.chamfer import depth_share
from hlmat.transforms.segmenters.graphcut.window import Cell

# Two kinds of people: some click the deepest pixel of an error, some anywhere well inside it. For
# each: from which share of the greatest depth on a click is as good as the deepest, the likelihood
# at the very edge against that at the best, and the log odds of the kind when all clicks are best.
_CLICKERS = ((1.0, 0.23, 2.0), (0.5, 0.09, 0.0))


@dataclass(frozen=True, eq=False)
class PastError:
    """A mask of the past and the click that was made to mend it.

    Attributes:
        labels: the mask before the click. Shape: the window's.
    """

    labels: Mask
    cell: Cell

    def depth_share(self, truth: Mask) -> float:
        """Return how deep the click lies in the error that `truth` would make the mask, in [0, 1].

        Args:
            truth: labels that may be the true ones. Shape: the window's.
        """
        row, column, is_positive = self.cell
        missed, wrong = truth & ~self.labels, self.labels & ~truth
        if not (missed.any() or wrong.any()):
            return 1.0
        if not (missed if is_positive else wrong)[row, column]:
            return 0.0
        return depth_share(missed + 2 * wrong.view(np.uint8), row, column)


def click_likelihood(shares: Sequence[tuple[float, float]]) -> float:
    """Return the log likelihood, up to a constant, that somebody made all these clicks.

    Args:
        shares: weight of each click, and its depth in the error as a share of the greatest.
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
