"""Random generators that depend on a target alone, never on the order of work."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def target_rng(seed: int, target_id: str, *salt: str | int) -> np.random.Generator:
    """Return the generator of one target: the same on any runner and any number of workers.

    Args:
        seed: the run's seed.
        target_id: `TargetRef.target_id`.
        salt: what the numbers are for, such as a policy's name and the index of a step.
    """
    key = json.dumps([seed, target_id, *salt], ensure_ascii=True)
    digest = hashlib.sha256(key.encode("ascii")).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
