"""Runs compared over the targets that they share."""

from __future__ import annotations

import pytest

from hlmat.transforms.metrics.paired_results import compare_results
from hlmat.transforms.metrics.target_results import TargetResult


def results(**overlaps: tuple[int, int]) -> dict[str, TargetResult]:
    """By target id, intersection and union; an id's first letter is its image."""
    return {
        name: TargetResult(name, name[0], i, u, i / u, (0.0, i / u), 1, None)
        for name, (i, u) in overlaps.items()
    }


def test_differences_by_hand_over_shared_targets_only() -> None:
    before = results(a1=(1, 4), a2=(2, 4), b1=(30, 40), c1=(0, 9))
    after = results(b1=(20, 40), a1=(3, 4), a2=(4, 4), d1=(9, 9))
    found = compare_results(before, after)
    assert found is not None
    assert found["gIoU"]["value"] == pytest.approx((0.5 + 0.5 - 0.25) / 3)
    assert found["cIoU"]["value"] == pytest.approx(27 / 48 - 33 / 48)
    assert (found["targets"], found["images"], found["unpaired"]) == (3, 2, 2)
    # Of two images, a resample holds one of them twice, or both.
    assert (found["gIoU"]["low"], found["gIoU"]["high"]) == pytest.approx((-0.25, 0.5))
    assert (found["cIoU"]["low"], found["cIoU"]["high"]) == pytest.approx((-0.25, 0.5))
    assert found["gIoU"]["change"] == "no change shown"


def test_a_rise_of_every_image_is_shown() -> None:
    before = results(**{f"{name}1": (50, 100) for name in "abcdefgh"})
    after = results(**{f"{name}1": (60, 100) for name in "abcdefgh"})
    found = compare_results(before, after)
    assert found is not None
    assert found["gIoU"]["change"] == found["cIoU"]["change"] == "rises"


def test_nothing_shared_is_no_comparison() -> None:
    assert compare_results(results(a=(1, 2)), results(b=(1, 2))) is None
