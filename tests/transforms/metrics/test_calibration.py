"""Agreement of scores and IoUs: against scipy, at its extremes, and where it is undefined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hlmat.transforms.core.image_identity import image_key
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.metrics.calibration import (
    ScoredMask,
    calibration_figures,
    keeping_figures,
    scored_masks,
)
from trajectory_cases import HALF, make_trajectory

UNIT = st.floats(0, 1, allow_subnormal=False)
PAIRS = st.lists(st.tuples(st.integers(0, 5), UNIT, UNIT), min_size=1, max_size=40)


def masks(pairs: list[tuple[int, float, float]]) -> list[ScoredMask]:
    return [ScoredMask(f"image {image}", predicted, iou) for image, predicted, iou in pairs]


@given(PAIRS)
def test_figures_are_those_of_their_definitions(pairs: list[tuple[int, float, float]]):
    figures = calibration_figures(masks(pairs))
    predicted, iou = (100 * np.array([p[k] for p in pairs]) for k in (1, 2))
    assert figures["masks"] == len(pairs)
    assert figures["MAE"]["value"] == pytest.approx(np.abs(predicted - iou).mean())
    assert figures["MSE"]["value"] == pytest.approx(((predicted - iou) ** 2).mean())
    assert figures["images"] == len({image for image, *_ in pairs})
    for name in ("MAE", "MSE"):
        low, high = figures[name]["low"], figures[name]["high"]
        if figures["images"] == 1:
            assert low is high is None
        else:
            assert low <= figures[name]["value"] <= high
    assert sum(b["count"] for b in figures["bins"]) == len(pairs)
    assert all(0 <= b["predicted"] <= 1 and 0 <= b["iou"] <= 1 for b in figures["bins"])


def test_correlations_are_scipys():
    rng = np.random.default_rng(0)
    predicted = rng.random(200)
    iou = np.clip(predicted + rng.normal(0, 0.2, 200), 0, 1)
    figures = calibration_figures(
        [ScoredMask(f"t{k // 2}", *pair) for k, pair in enumerate(zip(predicted, iou, strict=True))]
    )
    pearson: Any = stats.pearsonr(predicted, iou)
    spearman: Any = stats.spearmanr(predicted, iou)
    assert figures["Pearson"]["value"] == pytest.approx(pearson.statistic)
    assert figures["Spearman"]["value"] == pytest.approx(spearman.statistic)
    # The bootstrap comes near the interval that the textbook gives for independent pairs.
    textbook = pearson.confidence_interval()
    assert figures["Pearson"]["low"] == pytest.approx(textbook.low, abs=0.04)
    assert figures["Pearson"]["high"] == pytest.approx(textbook.high, abs=0.04)


def test_a_perfect_score_has_no_error():
    figures = calibration_figures(masks([(k, k / 5, k / 5) for k in range(6)]))
    assert figures["MAE"] == {"value": 0, "low": 0, "high": 0}
    assert figures["Spearman"]["value"] == pytest.approx(1)


def test_scores_that_do_not_vary_have_no_correlation():
    figures = calibration_figures(masks([(0, 0.5, 0.1), (1, 0.5, 0.9)]))
    assert (figures["Pearson"], figures["Spearman"]) == (None, None)


def test_masks_of_one_image_are_drawn_together():
    errors = np.random.default_rng(0).random((8, 10))
    once = masks([(k, 0.5, errors[k, 0]) for k in range(8)])
    alone, repeated = calibration_figures(once), calibration_figures(once * 10)
    assert (alone["images"], repeated["images"], repeated["masks"]) == (8, 8, 80)
    assert repeated["MAE"] == pytest.approx(alone["MAE"])
    single = calibration_figures(masks([(0, 0.5, 0.1 * k) for k in range(8)]))["MAE"]
    assert (single["low"], single["high"]) == (None, None)


def test_correlations_of_repeated_masks_keep_their_interval():
    pairs = np.random.default_rng(1).random((30, 2))
    once = masks([(k, *pair) for k, pair in enumerate(pairs)])
    alone, repeated = calibration_figures(once), calibration_figures(once * 6)
    for name in ("Pearson", "Spearman"):
        assert repeated[name] == pytest.approx(alone[name])


def test_an_initial_mask_is_among_those_that_were_scored():
    trajectory = make_trajectory()
    scored = replace(
        trajectory,
        steps=tuple(
            replace(step, predicted_iou=score)
            for step, score in zip(trajectory.steps, (0.1, 0.2), strict=True)
        ),
        last_predicted_iou=0.9,
    )
    first, last = (step.iou for step in trajectory.steps)
    image = image_key(trajectory.target.ref, shapes=None)
    after = [ScoredMask(image, 0.2, first), ScoredMask(image, 0.9, last)]
    assert list(scored_masks(scored)) == after
    begun = replace(scored, initial_mask=encode_mask(HALF), initial_iou=0.5)
    assert list(scored_masks(begun)) == [ScoredMask(image, 0.1, 0.5), *after]


def test_differences_too_small_for_a_variance_are_none():
    figures = calibration_figures(masks([(0, 0.0, 0.0), (1, 1.0, 2.5e-287)]))
    assert figures["Pearson"] is None


def test_there_must_be_masks():
    with pytest.raises(ValueError, match="at least one scored mask"):
        calibration_figures([])


def test_masks_are_kept_from_a_score_on_and_good_from_the_same_iou_on():
    # score, IoU: kept and good, kept but bad, good but not kept, neither, without a score but good
    pairs = [(0.9, 0.85), (0.8, 0.3), (0.79, 0.8), (0.1, 0.2), (-1.0, 0.95)]
    (row,) = keeping_figures(masks([(k, *pair) for k, pair in enumerate(pairs)]), keep_at=[0.8])
    assert (row["keep_at"], row["masks"]) == (0.8, 5)
    assert (row["good"], row["kept"], row["kept_good"]) == (3, 2, 1)
    assert row["share"]["value"] == pytest.approx(3 / 5)
    assert row["precision"]["value"] == pytest.approx(1 / 2)
    assert row["recall"]["value"] == pytest.approx(1 / 3)


def test_shares_of_no_masks_are_none():
    (row,) = keeping_figures(masks([(0, 0.1, 0.2), (1, 0.2, 0.1)]), keep_at=[0.5])
    assert (row["share"]["value"], row["precision"], row["recall"]) == (0.0, None, None)
    with pytest.raises(ValueError, match="at least one scored mask"):
        keeping_figures([])


@given(PAIRS)
def test_a_perfect_score_keeps_all_good_masks_and_no_others(triples):
    perfect = masks([(image, iou, iou) for image, _, iou in triples])
    for row in keeping_figures(perfect):
        assert row["good"] == row["kept"] == row["kept_good"]
        for name in ("precision", "recall"):
            assert row[name] is None or row[name]["value"] == 1


@given(PAIRS)
def test_keeping_agrees_with_counting(triples):
    for row in keeping_figures(masks(triples)):
        score = row["keep_at"]
        kept = [iou >= score for _, predicted, iou in triples if predicted >= score]
        good = [predicted >= score for _, predicted, iou in triples if iou >= score]
        for name, found in (("precision", kept), ("recall", good)):
            assert (row[name] and row[name]["value"]) == (
                pytest.approx(sum(found) / len(found)) if found else None
            )
