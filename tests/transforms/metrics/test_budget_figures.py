"""Figures at click budgets, compared with plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import builders
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click, StopReason
from hlmat.transforms.metrics.budget_figures import (
    BUDGETS,
    MAX_CLICKS,
    BudgetResult,
    budget_figures,
    measure_budgets,
)
from hlmat.transforms.metrics.target_results import RolledOut, rolled_out

TRUTH = builders.columns(4, size_hw=(2, 10))
small_masks = npst.arrays(np.bool_, (3, 4))


def rollout(
    masks: list[Mask], truth: Mask, *, reason: StopReason = StopReason.FINISHED, image: str = "a"
) -> RolledOut:
    answers = [(Click(k, 0, True), mask) for k, mask in enumerate(masks)]
    of = builders.target(truth, "t", image_path=f"{image}.png")
    steps = builders.steps(truth, *answers)
    return rolled_out(builders.trajectory(of, *steps, stop_reason=reason))


def columns(count: int) -> Mask:
    return builders.columns(count, size_hw=(2, 10))


def measured(*masks: Mask, reason: StopReason = StopReason.FINISHED) -> BudgetResult:
    return measure_budgets(rollout(list(masks), TRUTH, reason=reason), step="last")


def test_regret_and_overshoot_count_from_the_first_best_mask() -> None:
    result = measured(columns(2), columns(4), columns(4), columns(8))
    assert (result.best_iou, result.stopped.iou) == (1.0, 0.5)
    assert (result.stop_regret, result.overshoot) == (0.5, 2)
    assert [r.iou for r in result.at] == [0.5, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert result.segmenter_calls == 4


def test_a_rollout_that_stops_at_its_best_mask_has_no_regret() -> None:
    result = measured(columns(2), columns(4))
    assert (result.stop_regret, result.overshoot) == (0.0, 0)


def test_no_object_is_an_empty_mask_after_the_last_click_alone() -> None:
    result = measured(columns(4), reason=StopReason.NO_OBJECT)
    assert [r.iou for r in result.at] == [1, 0, 0, 0, 0, 0, 0]
    assert (result.stopped.iou, result.stop_regret) == (0.0, 1.0)


def test_more_clicks_than_the_rules_allow_are_an_error() -> None:
    with pytest.raises(ValueError, match=f"'t' has 8 clicks; at most {MAX_CLICKS} are allowed"):
        measured(*[columns(1)] * 8)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.lists(small_masks, min_size=1, max_size=7), small_masks, st.sampled_from("ab")
        ),
        min_size=1,
        max_size=4,
    )
)
def test_figures_are_means_and_ratios_of_sums(
    rollouts: list[tuple[list[Mask], Mask, str]],
) -> None:
    results = [
        measure_budgets(rollout(masks, truth, image=image), step="last")
        for masks, truth, image in rollouts
    ]
    figures = budget_figures(results)
    gious, cious = [], []
    for k in range(1, MAX_CLICKS + 1):
        chosen = [masks[min(k, len(masks)) - 1] for masks, _, _ in rollouts]
        shared = [int((m & t).sum()) for m, (_, t, _) in zip(chosen, rollouts, strict=True)]
        either = [int((m | t).sum()) for m, (_, t, _) in zip(chosen, rollouts, strict=True)]
        gious.append(np.mean([i / u if u else 1.0 for i, u in zip(shared, either, strict=True)]))
        cious.append(sum(shared) / sum(either) if sum(either) else 1.0)
    for k in BUDGETS:
        assert figures["gIoU@k"][str(k)]["value"] == pytest.approx(gious[k - 1])
        assert figures["cIoU@k"][str(k)]["value"] == pytest.approx(cious[k - 1])
    assert figures["AUC"]["gIoU"]["value"] == pytest.approx(np.mean(gious))
    assert figures["AUC"]["cIoU"]["value"] == pytest.approx(np.mean(cious))
    assert figures["stop_regret"]["value"] >= 0
    assert figures["clicks"]["value"] == pytest.approx(np.mean([len(m) for m, _, _ in rollouts]))
    assert figures["targets"] == len(rollouts)


def test_targets_without_an_object_are_counted_apart() -> None:
    nothing = np.zeros_like(TRUTH)
    results = [
        measure_budgets(rollout([nothing], nothing), step="last"),
        measure_budgets(rollout([columns(1)], nothing), step="last"),
        measure_budgets(rollout([columns(4)], TRUTH), step="last"),
    ]
    figures = budget_figures(results)
    assert figures["N-acc"]["value"] == 0.5
    assert figures["T-acc"]["value"] == 1.0
    assert "N-acc" not in budget_figures(results[2:])
