"""Two ways of working compared over the same targets: the mean difference and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from hlmat.transforms.metrics.bootstrap import mean_intervals


class Change(StrEnum):
    """What an interval of a difference shows."""

    RISES = "rises"
    FALLS = "falls"
    NOT_SHOWN = "no change shown"


def change_of(difference: Mapping[str, float]) -> Change:
    """Say what a difference with its interval shows: nothing where the interval touches 0.

    >>> str(change_of({"value": 0.02, "low": 0.01, "high": 0.03}))
    'rises'
    """
    if difference["low"] > 0:
        return Change.RISES
    if difference["high"] < 0:
        return Change.FALLS
    return Change.NOT_SHOWN


def paired_difference(
    before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the mean of `after - before` over the targets that both have, with its interval.

    Args:
        before: a figure, such as the IoU, by target id.
        after: the same figure reached otherwise.

    Returns:
        `value`, `low`, `high` (95 %, targets resampled), `change` as a word, `targets` compared and
        `unpaired`, those that only one of the two has; None where they have no target in common.
    """
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    gains = np.array([[after[name] - before[name]] for name in shared], np.float64)
    interval = mean_intervals(gains)[0].as_dict()
    return {
        **interval,
        "change": str(change_of(interval)),
        "targets": len(shared),
        "unpaired": len(before.keys() ^ after.keys()),
    }
