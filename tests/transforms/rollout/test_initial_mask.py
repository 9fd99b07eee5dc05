"""The first mask of a rollout: the mask itself, or one corrupted to a given IoU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.rollout.initial_mask import first_mask
from hlmat.transforms.rollout.options import FirstMask


def square() -> TruthMasks:
    truth = np.zeros((40, 50), dtype=np.bool_)
    truth[8:30, 10:36] = True
    return TruthMasks(truth)


def test_the_given_mask_is_taken_as_it_is():
    masks = square()
    assert first_mask(FirstMask(), masks, seed=0, target_id="t") is masks.truth
    assert FirstMask().identity() == {"corrupted_to": None}


@given(st.integers(0, 1000), st.sampled_from([(0.0, 0.3), (0.3, 0.6), (0.5, 0.9), (0.8, 1.0)]))
def test_a_corrupted_mask_is_of_the_range_and_of_its_target_alone(
    seed: int, bounds: tuple[float, float]
):
    masks, first = square(), FirstMask(corrupted_to=bounds)
    found = first_mask(first, masks, seed=seed, target_id="t")
    assert bounds[0] <= mask_iou(found, masks.truth) < bounds[1]
    assert np.array_equal(found, first_mask(first, masks, seed=seed, target_id="t"))
    assert first.identity() == {"corrupted_to": list(bounds)}


def test_an_object_of_one_pixel_is_not_corruptible_to_any_iou():
    truth = np.zeros((3, 3), dtype=np.bool_)
    truth[1, 1] = True
    with pytest.raises(TargetError, match="t: no corruption of the mask has an IoU") as caught:
        first_mask(FirstMask(corrupted_to=(0.6, 0.9)), TruthMasks(truth), seed=0, target_id="t")
    assert caught.value.reason is RejectReason.NOT_CORRUPTIBLE


@pytest.mark.parametrize("bounds", [(0.9, 0.1), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_a_range_must_make_sense(bounds: tuple[float, float]):
    with pytest.raises(
        ValueError,
        match=r"^FirstMask\.corrupted_to .*: expected LOW-HIGH with 0 <= LOW < HIGH <= 1",
    ):
        FirstMask(corrupted_to=bounds)
