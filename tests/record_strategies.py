"""Hypothesis strategies of records, for tests of what is written and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from hlmat.transforms.core.records import (
    Click,
    Provenance,
    Rle,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.masks.rle import encode_mask

Strategy = st.SearchStrategy[Any]


def rles(size_hw: tuple[int, int]) -> st.SearchStrategy[Rle]:
    """Draw any mask of this size, of at most 62 pixels."""
    count = size_hw[0] * size_hw[1]
    return st.integers(0, 2**count - 1).map(
        lambda bits: encode_mask(
            np.array([bits >> i & 1 for i in range(count)], bool).reshape(size_hw)
        )
    )


def clicks_within(size_hw: tuple[int, int]) -> st.SearchStrategy[Click]:
    """Draw clicks inside an image of this size."""
    height, width = size_hw
    return st.builds(Click, st.integers(0, width - 1), st.integers(0, height - 1), st.booleans())


def target_refs(
    texts: Strategy, *, image_ids: Strategy, object_ids: Strategy
) -> st.SearchStrategy[TargetRef]:
    """Draw references whose fields have no relation to each other."""
    return st.builds(
        TargetRef,
        target_id=texts,
        dataset=texts,
        split=texts,
        image_path=texts,
        image_name=texts,
        image_id=st.none() | image_ids,
        object_id=object_ids,
        expressions=st.lists(texts, min_size=1, max_size=3).map(tuple),
        truth_ref=texts,
        license=texts,
    )


def steps(masks: Strategy, *, actions: Strategy, **fields: Strategy) -> st.SearchStrategy[Step]:
    """Draw steps whose fields have no relation to each other.

    Args:
        fields: strategies of further fields; those of `iou` and `gain` are needed.
    """
    return st.builds(Step, action=actions, mask=masks, is_initial=st.booleans(), **fields)


def trajectories(
    refs: Strategy,
    masks: Strategy,
    steps: Strategy,
    *,
    texts: Strategy,
    seeds: Strategy,
    stop_reasons: Strategy | None = None,
    **fields: Strategy,
) -> st.SearchStrategy[Trajectory]:
    """Draw trajectories of at most three steps.

    Args:
        texts: what is drawn for the names in their provenance and for the detail of the stop.
        stop_reasons: every reason if not given.
        fields: strategies of further fields.
    """
    return st.builds(
        Trajectory,
        target=st.builds(Target, ref=refs, truth=masks, ignore=st.none() | masks),
        steps=st.lists(steps, max_size=3).map(tuple),
        stop_reason=st.sampled_from(StopReason) if stop_reasons is None else stop_reasons,
        provenance=st.builds(
            Provenance,
            segmenter=texts,
            weights_sha256=texts,
            policy=texts,
            seed=seeds,
            config_fingerprint=texts,
        ),
        stop_detail=st.none() | texts,
        **fields,
    )
