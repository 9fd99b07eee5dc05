"""States for reinforcement learning, and those that rewards could not replay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from hlmat.export.formats.reward_rows import reward_states
from hlmat.export.llama_factory.samples import Case
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.masks.rle import encode_mask
from trajectory_cases import HALF, make_trajectory, thousandths


class NoImages:
    """Stands in for the images of the rows."""

    def state(self, target: Any, mask: Any) -> Any:
        return None if mask is None else mask.counts


def test_each_click_is_a_state_with_what_was_there_before() -> None:
    case = Case(make_trajectory())
    found = list(reward_states(case, cast("Any", NoImages()), thousandths()))
    assert [state.columns["clicks"] for state in found] == ["[]", "[[100, 50, true]]"]
    assert [state.image for state in found] == [None, encode_mask(HALF).counts]


def test_a_rollout_that_begins_with_a_mask_is_refused() -> None:
    trajectory = replace(make_trajectory(), initial_mask=encode_mask(HALF), initial_iou=0.5)
    with pytest.raises(DataError) as caught:
        next(reward_states(Case(trajectory), cast("Any", NoImages()), thousandths()))
    assert str(caught.value) == (
        "t/1 #é begins with a mask, but rewards replay clicks from an empty mask; make "
        "trajectories with --initial-action none"
    )
