"""Differences over the same targets, and the word for what their interval shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.metrics.paired_differences import Change, change_of, paired_difference

IOUS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.03, "rises"),
        (-0.03, -0.01, "falls"),
        (-0.01, 0.03, "no change shown"),
        (0.0, 0.03, "no change shown"),  # 0 is not left out
        (-0.03, 0.0, "no change shown"),
        (0.0, 0.0, "no change shown"),  # nothing changed at all
    ],
)
def test_the_word_comes_from_the_interval_alone(low: float, high: float, word: str) -> None:
    assert change_of({"value": (low + high) / 2, "low": low, "high": high}) == word


def test_only_shared_targets_are_compared() -> None:
    found = paired_difference({"a": 0.5, "b": 0.25, "c": 1.0}, {"b": 0.5, "a": 1.0, "d": 0.0})
    assert found is not None
    assert found["value"] == pytest.approx((0.5 + 0.25) / 2)
    assert (found["targets"], found["unpaired"], found["change"]) == (2, 2, Change.RISES)
    assert found["low"] == pytest.approx(0.25)  # each drawn alone at times
    assert found["high"] == pytest.approx(0.5)


def test_nothing_in_common_is_no_difference() -> None:
    assert paired_difference({"a": 0.5}, {"b": 0.5}) is None


def test_pairing_shows_what_two_intervals_beside_each_other_would_not() -> None:
    # IoUs from 0 to 0.9, each of them a little better afterwards.
    before = {str(k): k / 50 for k in range(45)}
    after = {name: iou + 0.02 for name, iou in before.items()}
    found = paired_difference(before, after)
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((0.02, 0.02))
    assert found["change"] == "rises"


@given(before=IOUS, after=IOUS)
def test_the_other_way_round_has_the_other_sign(
    before: dict[str, float], after: dict[str, float]
) -> None:
    there, back = paired_difference(before, after), paired_difference(after, before)
    if there is None or back is None:
        assert there is back
        return
    assert there["value"] == pytest.approx(-back["value"])
    assert there["low"] <= there["value"] <= there["high"]
    opposite = {"rises": "falls", "falls": "rises"}
    assert back["change"] == opposite.get(there["change"], there["change"])


@given(ious=IOUS)
def test_against_itself_nothing_changes(ious: dict[str, float]) -> None:
    found = paired_difference(ious, dict(reversed(ious.items())))
    assert found is not None
    assert (found["value"], found["low"], found["high"]) == (0, 0, 0)
    assert found["change"] == "no change shown"
