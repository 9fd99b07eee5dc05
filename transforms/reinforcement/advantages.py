"""Advantages of rollouts over the others of their group, as GRPO defines them.

DeepSeekMath, arXiv 2402.03300, section 4.1; without the division, "Dr. GRPO", arXiv 2503.20783.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.reinforcement.options import Scale

_LEAST_DEVIATION = 1e-4


def group_advantages(
    rewards: Sequence[float], groups: Sequence[Hashable], *, scale: Scale
) -> NDArray[np.float64]:
    """Return each reward minus the mean of its group.

    Args:
        rewards: one for each rollout.
        groups: the group of each rollout.
        scale: "group" also divides by the group's standard deviation (of a sample, as in TRL) plus
            1e-4, "none" does not.

    Returns:
        0 where all rewards of a group are equal, and in a group of one. Shape: (N,).

    Raises:
        ValueError: `rewards` and `groups` differ in length.
    """
    if len(rewards) != len(groups):
        raise ValueError(f"{len(rewards)} rewards for {len(groups)} groups: expected as many")
    values = np.asarray(rewards, dtype=np.float64)
    advantages = np.zeros(len(values))
    for group in dict.fromkeys(groups):
        members = np.array([other == group for other in groups])
        centred = values[members] - values[members].mean()
        if members.sum() < 2 or not np.ptp(values[members]):
            continue
        if scale == "group":
            centred = centred / (values[members].std(ddof=1) + _LEAST_DEVIATION)
        advantages[members] = centred
    return advantages
