"""Intervals that resample images: exact cases, textbook cases, and coverage where targets depend
on each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hlmat.transforms.metrics.bootstrap import (
    Change,
    bootstrap_intervals,
    change_of,
    mean_intervals,
    paired_difference,
    ratio_interval,
    remark_on_images,
    sums_by_image,
)

VALUES = arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(0, 1))


def labels(count: int, *, per_image: int = 1) -> list[str]:
    return [f"image {k // per_image:05d}" for k in range(count)]


def width(values: np.ndarray, images: list[str]) -> float:
    (interval,) = mean_intervals(values.reshape(-1, 1), images)
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


@given(VALUES, st.integers(1, 5))
def test_an_interval_contains_its_figure_and_is_deterministic(
    values: np.ndarray, per_image: int
) -> None:
    images = labels(len(values), per_image=per_image)
    first, second = mean_intervals(values, images), mean_intervals(values, images)
    assert first == second
    for column, interval in zip(values.T, first, strict=True):
        assert interval.value == pytest.approx(column.mean())
        if interval.low is None or interval.high is None:
            assert len(set(images)) == 1
            continue
        assert column.min() - 1e-9 <= interval.low <= interval.value
        assert interval.value <= interval.high <= column.max() + 1e-9


@given(VALUES, st.randoms())
def test_the_order_of_targets_changes_nothing(values: np.ndarray, random: object) -> None:
    images = labels(len(values), per_image=3)
    order = list(range(len(values)))
    random.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue]
    shuffled = mean_intervals(values[order], [images[k] for k in order])
    assert shuffled == mean_intervals(values, images)


@given(VALUES, st.integers(2, 6))
def test_duplicates_of_every_expression_do_not_narrow_the_interval(
    values: np.ndarray, times: int
) -> None:
    images = labels(len(values), per_image=2)
    once = mean_intervals(values, images)
    repeated = mean_intervals(np.repeat(values, times, axis=0), list(np.repeat(images, times)))
    for a, b in zip(once, repeated, strict=True):
        assert b.value == pytest.approx(a.value)
        assert (b.low, b.high) == (pytest.approx(a.low), pytest.approx(a.high))


def test_targets_drawn_one_by_one_would_narrow_it() -> None:
    values = np.random.default_rng(0).random(60)
    repeated = np.repeat(values, 9)
    as_if_independent = width(repeated, labels(len(repeated)))
    by_image = width(repeated, labels(len(repeated), per_image=9))
    assert by_image == pytest.approx(width(values, labels(60)))
    assert as_if_independent < by_image / 2.5


def test_with_one_target_per_image_it_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(3).random(40)
    rng = np.random.default_rng(7)
    means = values[rng.integers(40, size=(20_000, 40))].mean(axis=1)
    (interval,) = mean_intervals(values[:, None], labels(40))
    # Student's quantile with 39 degrees of freedom, times sqrt(40 / 39), as a level of the normal.
    low, high = np.quantile(means, [0.0203, 1 - 0.0203])
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)


def test_the_interval_of_a_mean_approaches_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=(400, 1))
    (interval,) = mean_intervals(values, labels(400))
    error = values.std() / np.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_coverage_on_clustered_targets() -> None:
    """40 images of 8 targets whose values share a part: 95 % must mean 95 %."""
    rng = np.random.default_rng(11)
    hits = {"by image": 0, "by target": 0}
    trials = 200
    for _ in range(trials):
        shared = rng.normal(0, 1, size=(40, 1))
        values = (shared + rng.normal(0, 1, size=(40, 8))).reshape(-1, 1)
        for name, per_image in (("by image", 8), ("by target", 1)):
            (interval,) = mean_intervals(values, labels(320, per_image=per_image))
            assert interval.low is not None
            assert interval.high is not None
            hits[name] += interval.low <= 0 <= interval.high
    # Four standard errors of 200 trials at 95 % are 0.062.
    assert 0.89 <= hits["by image"] / trials <= 1
    assert hits["by target"] / trials < 0.75


def test_equal_values_have_no_width() -> None:
    (interval,) = mean_intervals(np.full((7, 1), 0.25), labels(7))
    assert interval.as_dict() == {"value": 0.25, "low": 0.25, "high": 0.25}
    for count in range(2, 60):
        # Sums of thirds are rounded; the figure is within its interval all the same.
        (interval,) = mean_intervals(np.full((count, 1), 1 / 3), labels(count))
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.value <= interval.high


def test_a_single_image_has_no_interval() -> None:
    (interval,) = mean_intervals(np.array([[0.2], [0.4]]), ["a", "a"])
    assert interval.as_dict() == {"value": pytest.approx(0.3), "low": None, "high": None}


def test_a_ratio_is_resampled_as_a_ratio_of_sums() -> None:
    tops, bottoms = np.array([1.0, 0.0]), np.array([1.0, 9.0])
    interval = ratio_interval(tops, bottoms, labels(2))
    # Of two images a resample holds one of them twice, or both.
    assert (interval.value, interval.low, interval.high) == (0.1, 0.0, 1.0)
    nothing = ratio_interval(np.zeros(3), np.zeros(3), labels(3))
    assert (nothing.value, nothing.low, nothing.high) == (1.0, 1.0, 1.0)


def test_resamples_without_the_figure_are_left_out() -> None:
    columns = np.array([[1.0], [0.0]])
    (interval,) = bootstrap_intervals(
        columns, labels(2), lambda sums: np.where(sums > 0, sums, np.nan)
    )
    assert (interval.value, interval.low, interval.high) == (1.0, 1.0, 2.0)


def test_sums_are_kept_by_image() -> None:
    sums = sums_by_image(np.array([[1.0, 2], [10, 20], [100, 200]]), ["b", "a", "b"])
    assert sums.tolist() == [[10, 20], [101, 202]]


@pytest.mark.parametrize(("rows", "images"), [(2, ["a"]), (0, [])])
def test_every_target_needs_an_image(rows: int, images: list[str]) -> None:
    with pytest.raises(ValueError, match=f"got {len(images)} images for {rows} targets"):
        mean_intervals(np.ones((rows, 1)), images)


@pytest.mark.parametrize(
    ("count", "remark"),
    [(1, "1 image: no intervals"), (19, "19 images: intervals from fewer than 20"), (20, None)],
)
def test_few_images_are_reported(count: int, remark: str | None) -> None:
    found = remark_on_images(count)
    assert found == remark or (remark is not None and found is not None and remark in found)


IOUS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1)
IMAGES = {name: name.upper() for name in "abcdefgh"}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.03, "rises"),
        (-0.03, -0.01, "falls"),
        (-0.01, 0.03, "no change shown"),
        (0.0, 0.03, "no change shown"),  # 0 is not excluded
        (-0.03, 0.0, "no change shown"),
        (0.0, 0.0, "no change shown"),  # nothing changed at all
        (None, None, "no change shown"),  # no interval
    ],
)
def test_the_word_depends_on_the_interval_alone(
    low: float | None, high: float | None, word: str
) -> None:
    assert change_of({"value": 0.02, "low": low, "high": high}) == word


def test_only_shared_targets_are_compared() -> None:
    found = paired_difference(
        {"a": 0.5, "b": 0.25, "c": 1.0}, {"b": 0.5, "a": 1.0, "d": 0.0}, image_of=IMAGES
    )
    assert found is not None
    assert found["value"] == pytest.approx((0.5 + 0.25) / 2)
    assert (found["targets"], found["unpaired"], found["change"]) == (2, 2, Change.RISES)
    assert found["images"] == 2
    assert found["low"] == pytest.approx(0.25)  # each is drawn alone at times
    assert found["high"] == pytest.approx(0.5)


def test_no_shared_target_is_no_difference() -> None:
    assert paired_difference({"a": 0.5}, {"b": 0.5}, image_of=IMAGES) is None


def test_targets_of_one_image_show_no_change() -> None:
    same = dict.fromkeys("ab", "one image")
    found = paired_difference({"a": 0.1, "b": 0.2}, {"a": 0.9, "b": 0.8}, image_of=same)
    assert found is not None
    assert (found["low"], found["change"], found["images"]) == (None, "no change shown", 1)


def test_a_rise_of_expressions_of_few_images_may_not_be_one() -> None:
    # Ten expressions each of five images: two images rise, three fall slightly.
    gains = np.repeat([0.30, 0.30, -0.06, -0.05, -0.04], 10)
    before = {f"{k:02d}": 0.5 for k in range(50)}
    after = {name: 0.5 + gain for name, gain in zip(before, gains, strict=True)}
    image_of = {name: f"image {k // 10}" for k, name in enumerate(before)}
    alone = {name: name for name in before}
    as_if_independent = paired_difference(before, after, image_of=alone)
    by_image = paired_difference(before, after, image_of=image_of)
    assert as_if_independent is not None
    assert by_image is not None
    assert as_if_independent["change"] == "rises"
    assert by_image["change"] == "no change shown"


def test_pairing_shows_what_two_intervals_beside_each_other_would_not() -> None:
    # IoUs from 0 to 0.9, each of them a little better afterwards.
    before = {str(k): k / 50 for k in range(45)}
    after = {name: iou + 0.02 for name, iou in before.items()}
    found = paired_difference(before, after, image_of={name: name for name in before})
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((0.02, 0.02))
    assert found["change"] == "rises"


@given(before=IOUS, after=IOUS)
def test_the_reverse_difference_has_the_other_sign(
    before: dict[str, float], after: dict[str, float]
) -> None:
    there = paired_difference(before, after, image_of=IMAGES)
    back = paired_difference(after, before, image_of=IMAGES)
    if there is None or back is None:
        assert there is back
        return
    assert there["value"] == pytest.approx(-back["value"])
    if there["low"] is not None:
        assert there["low"] == pytest.approx(-back["high"], abs=1e-12)
        assert there["low"] <= there["value"] <= there["high"]
    opposite = {"rises": "falls", "falls": "rises"}
    assert back["change"] == opposite.get(there["change"], there["change"])


@given(ious=IOUS)
def test_against_itself_nothing_changes(ious: dict[str, float]) -> None:
    found = paired_difference(ious, dict(reversed(ious.items())), image_of=IMAGES)
    assert found is not None
    assert (found["value"], found["low"] or 0, found["high"] or 0) == (0, 0, 0)
    assert found["change"] == "no change shown"
