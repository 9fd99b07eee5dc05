"""Scores of rollouts: which mask is the prediction, and figures against a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.records import (
    Box,
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
from hlmat.transforms.metrics.click_curves import ClickProtocol, boundary_iou
from hlmat.transforms.metrics.target_results import (
    RolledOut,
    choose_mask,
    evaluation_figures,
    measure_rollout,
    rolled_out,
)

FIELD = ClickProtocol(max_clicks=20, stop_on_no_gain=False)


def columns(count: int) -> Rle:
    mask = np.zeros((4, 4), np.bool_)
    mask[:, :count] = True
    return encode_mask(mask)


def rollout(
    *counts: int,
    scores: tuple[float | None, ...] | None = None,
    last: float | None = None,
    name: str = "t",
    first_click: int = 0,
    reason: StopReason = StopReason.FINISHED,
    begins: int | None = None,
) -> RolledOut:
    """The truth is two columns; each mask the first so many."""
    masks = tuple(columns(c) for c in counts)
    return RolledOut(
        target_id=name,
        truth=columns(2),
        ignore=None,
        masks=masks,
        predicted_ious=scores or (None,) * len(masks),
        last_predicted_iou=last,
        first_click=first_click,
        stop_reason=reason,
        initial_mask=None if begins is None else columns(begins),
    )


@pytest.mark.parametrize(
    ("one", "step", "chosen"),
    [
        (rollout(1, 2, 3), "last", 2),
        (rollout(1, 2, 3), 1, 0),
        (rollout(1, 2, 3), 9, 2),  # a rollout that ended keeps its last mask
        (rollout(1, 2, 3, first_click=1), 1, 1),  # clicks are counted, not boxes
        (rollout(), "last", None),
        (rollout(1, 2), 0, None),  # before the first click there is no mask yet
        (rollout(1, 2, first_click=1), 0, 0),  # or the box's
        (rollout(1, 2, 3, scores=(0.0, 0.5, 0.9), last=0.6), "best-scored", 1),  # mask before
        (rollout(1, 2, 3, scores=(0.0, 0.5, 0.6), last=0.9), "best-scored", 2),
        (rollout(1, 2, 3, scores=(0.0, 0.5, 0.5), last=0.5), "best-scored", 2),  # later of equals
        (rollout(1, 2, 3, scores=(0.9, 0.5, None)), "best-scored", 0),  # the empty start is none
        (rollout(1, 2, 3), "best-scored", 2),  # nothing is scored
        (rollout(1, 2), "best-scored", 1),
        (rollout(1, 2, scores=(0.9, 0.5), last=0.6, begins=3), "best-scored", None),
        (rollout(1, 2, scores=(0.6, 0.5), last=0.6, begins=3), "best-scored", None),  # no better
        (rollout(1, 2, scores=(0.5, 0.6), last=0.6, begins=3), "best-scored", 1),
        (rollout(1, 2, scores=(0.5, None), begins=3), "best-scored", None),  # alone is scored
        (rollout(1, 2, scores=(None, 0.1), begins=3), "best-scored", 0),
        (rollout(last=0.9, begins=3), "best-scored", None),
        (rollout(begins=3), "last", None),
        (rollout(begins=3), 4, None),
    ],
)
def test_which_mask_is_the_prediction(one: RolledOut, step: str | int, chosen: int | None) -> None:
    assert choose_mask(one, step) == chosen  # pyright: ignore[reportArgumentType]


def test_a_score_by_hand() -> None:
    score = measure_rollout(rollout(1, 4), step="last", max_clicks=4)
    assert (score.intersection, score.union, score.iou) == (8, 16, 0.5)
    assert score.iou_after_click == (0.0, 0.5, 0.5, 0.5, 0.5)
    assert score.clicks == 2


def test_no_mask_at_all_is_an_empty_prediction() -> None:
    score = measure_rollout(rollout(), step="last", max_clicks=2)
    assert (score.intersection, score.union, score.iou) == (0, 8, 0.0)
    empty = replace(rollout(), truth=columns(0))
    assert measure_rollout(empty, step="last", max_clicks=2).iou == 1.0


def test_a_rollout_without_steps_is_the_mask_that_it_began_with() -> None:
    score = measure_rollout(rollout(begins=1), step="last", max_clicks=2)
    assert (score.intersection, score.union, score.clicks) == (4, 8, 0)
    assert score.iou_after_click == (0.5, 0.5, 0.5)
    later = measure_rollout(rollout(2, begins=1), step="last", max_clicks=1)
    assert later.iou_after_click == (0.5, 1.0)


def test_ignored_pixels_count_nowhere() -> None:
    one = replace(rollout(4), ignore=encode_mask(~np.asarray(_decoded(columns(3)))))
    score = measure_rollout(one, step="last", max_clicks=1)
    assert (score.intersection, score.union) == (8, 12)


def _decoded(rle: Rle) -> np.ndarray:
    from hlmat.transforms.masks.rle import decode_rle

    return decode_rle(rle)


def test_a_trajectory_s_boxes_and_set_up_are_no_clicks_of_the_policy() -> None:
    ref = TargetRef("t", "d", "s", "a", "a", None, 0, ("it",), "{}", "l")
    steps = (
        Step(Box(0, 0, 2, 2), columns(1), 0.5, 0.5, is_initial=True),
        Step(Click(0, 0, True), columns(2), 1.0, 0.5, answer="Current IOU: 40.0, Finish"),
    )
    trajectory = Trajectory(
        Target(ref, columns(2)),
        steps,
        StopReason.FINISHED,
        Provenance("s", "", "p", 0, "f"),
        last_answer="Current IOU: 80.0, Finish",
    )
    one = rolled_out(trajectory)
    assert (one.first_click, one.predicted_ious, one.last_predicted_iou) == (1, (None, 0.4), 0.8)
    score = measure_rollout(one, step="last", max_clicks=2)
    assert (score.clicks, score.iou_after_click) == (1, (0.5, 1.0, 1.0))


ROLLOUTS = st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=8)


@given(ROLLOUTS, st.randoms())
def test_figures_are_those_of_a_plain_loop(all_counts: list[list[int]], random: object) -> None:
    rollouts = [rollout(*counts, name=f"t{k}") for k, counts in enumerate(all_counts)]
    scores = [measure_rollout(r, step="last", max_clicks=20) for r in rollouts]
    figures = evaluation_figures(scores, protocol=FIELD)
    ious, boundaries, tops, bottoms, needed = [], [], 0, 0, []
    truth = _decoded(columns(2))
    for counts in all_counts:
        masks = [_decoded(columns(c)) for c in counts]
        mask = masks[-1] if masks else np.zeros_like(truth)
        tops += int((mask & truth).sum())
        bottoms += int((mask | truth).sum())
        ious.append((mask & truth).sum() / (mask | truth).sum())
        boundaries.append(boundary_iou(mask, truth))
        each = [(m & truth).sum() / (m | truth).sum() for m in masks]
        needed.append(next((k for k, iou in enumerate(each, start=1) if iou >= 0.9), 20))
    assert figures["gIoU"]["value"] == pytest.approx(np.mean(ious))
    assert figures["cIoU"]["value"] == pytest.approx(tops / bottoms)
    assert figures["boundary_IoU"]["value"] == pytest.approx(np.mean(boundaries))
    assert figures["NoC"]["NoC@90"]["value"] == pytest.approx(np.mean(needed))
    assert figures["NoF"]["NoF@90"]["value"] == sum(2 not in counts for counts in all_counts)
    assert figures["IoU@k"][19]["value"] == pytest.approx(np.mean(ious))
    assert evaluation_figures(scores[::-1], protocol=FIELD) == figures


def test_figures_carry_the_names_of_their_rules_and_count_what_was_invalid() -> None:
    rollouts = [rollout(2, name="a"), rollout(name="b", reason=StopReason.INVALID_ACTION)]
    scores = [measure_rollout(r, step="last", max_clicks=3) for r in rollouts]
    protocol = ClickProtocol(max_clicks=3, stop_on_no_gain=False, initial_action="box")
    figures = evaluation_figures(scores, protocol=protocol)
    assert list(figures["NoC"]) == [f"NoC@{t} (max 3 clicks, after box)" for t in (80, 85, 90)]
    assert figures["invalid_rate"]["value"] == 0.5
    assert figures["stop_reasons"] == {
        "finished": {"value": 1, "low": 0.0, "high": 2.0},
        "invalid_action": {"value": 1, "low": 0.0, "high": 2.0},
    }
    assert figures["IoU@0"]["value"] == 0.0
    without = evaluation_figures(scores)
    assert "NoC" not in without
    assert without["gIoU"] == figures["gIoU"]
