"""Results of targets: which mask is the prediction, and figures against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import builders
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Rle, StopReason
from hlmat.transforms.masks.rle import decode_rle, encode_mask, mask_iou
from hlmat.transforms.metrics.click_curves import ClickProtocol
from hlmat.transforms.metrics.summary import summarize
from hlmat.transforms.metrics.target_results import (
    RolledOut,
    StepChoice,
    boundary_iou,
    choose_mask,
    measure_rollout,
    rolled_out,
)

FIELD = ClickProtocol(max_clicks=20, stop_on_no_gain=False)


def columns(count: int) -> Rle:
    return encode_mask(builders.columns(count, size_hw=(4, 4)))


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
        image=name,
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
        (rollout(1, 2, 3, scores=(0.9, 0.5, None)), "best-scored", 0),  # an empty start is none
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
def test_which_mask_is_the_prediction(one: RolledOut, step: StepChoice, chosen: int | None) -> None:
    assert choose_mask(one, step) == chosen


def test_a_result_by_hand() -> None:
    result = measure_rollout(rollout(1, 4), step="last", max_clicks=4)
    assert (result.intersection, result.union, result.iou) == (8, 16, 0.5)
    assert result.iou_after_click == (0.0, 0.5, 0.5, 0.5, 0.5)
    assert result.clicks == 2


def test_no_mask_at_all_is_an_empty_prediction() -> None:
    result = measure_rollout(rollout(), step="last", max_clicks=2)
    assert (result.intersection, result.union, result.iou) == (0, 8, 0.0)
    empty = replace(rollout(), truth=columns(0))
    assert measure_rollout(empty, step="last", max_clicks=2).iou == 1.0


def test_a_rollout_without_steps_is_the_mask_that_it_began_with() -> None:
    result = measure_rollout(rollout(begins=1), step="last", max_clicks=2)
    assert (result.intersection, result.union, result.clicks) == (4, 8, 0)
    assert result.iou_after_click == (0.5, 0.5, 0.5)
    later = measure_rollout(rollout(2, begins=1), step="last", max_clicks=1)
    assert later.iou_after_click == (0.5, 1.0)


def test_ignored_pixels_count_nowhere() -> None:
    one = replace(rollout(4), ignore=encode_mask(~np.asarray(decode_rle(columns(3)))))
    result = measure_rollout(one, step="last", max_clicks=1)
    assert (result.intersection, result.union) == (8, 12)


def test_a_trajectory_s_boxes_and_initial_actions_are_no_clicks_of_the_policy() -> None:
    trajectory = builders.trajectory(
        builders.target(columns(2)),
        builders.step(columns(1), Box(0, 0, 2, 2)),
        builders.step(columns(2), iou=1.0, answer="Current IOU: 40.0, Finish"),
        last_answer="Current IOU: 80.0, Finish",
    )
    one = rolled_out(trajectory)
    assert (one.first_click, one.predicted_ious, one.last_predicted_iou) == (1, (None, 0.4), 0.8)
    result = measure_rollout(one, step="last", max_clicks=2)
    assert (result.clicks, result.iou_after_click) == (1, (0.5, 1.0, 1.0))


small_masks = npst.arrays(bool, (4, 5))
ROLLOUTS = st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=8)


@given(ROLLOUTS)
def test_figures_are_those_of_a_plain_loop(all_counts: list[list[int]]) -> None:
    rollouts = [rollout(*counts, name=f"t{k}") for k, counts in enumerate(all_counts)]
    results = [measure_rollout(r, step="last", max_clicks=20, with_boundary=True) for r in rollouts]
    figures = summarize(results, FIELD).figures()
    ious, boundaries, tops, bottoms, needed = [], [], 0, 0, []
    truth = decode_rle(columns(2))
    for counts in all_counts:
        masks = [decode_rle(columns(c)) for c in counts]
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
    assert summarize(results[::-1], FIELD).figures() == figures


@given(
    st.lists(st.tuples(small_masks, st.booleans()), max_size=3),
    small_masks,
    st.none() | small_masks,
)
def test_recorded_ious_are_those_of_the_masks(
    steps: list[tuple[Mask, bool]], truth: Mask, ignore: Mask | None
) -> None:
    recorded = [
        builders.step(mask, iou=mask_iou(mask, truth, ignore=ignore), is_initial=is_initial)
        for mask, is_initial in steps
    ]
    one = rolled_out(builders.trajectory(builders.target(truth, ignore=ignore), *recorded))
    computed = measure_rollout(
        replace(one, ious=None), step="last", max_clicks=3, with_boundary=True
    )
    assert measure_rollout(one, step="last", max_clicks=3, with_boundary=True) == computed


def test_targets_of_one_image_share_its_label() -> None:
    targets = [
        builders.target(columns(2), dataset="refcoco", split="val", image_path=path)
        for path in (
            "a/COCO_train2014_000000000042.jpg",
            "b/000000000042.jpg",
            "a/COCO_train2014_000000000043.jpg",
        )
    ]
    images = [rolled_out(builders.trajectory(target)).image for target in targets]
    assert images[0] == images[1] != images[2]


@given(small_masks, small_masks)
def test_boundary_iou_is_symmetric_and_in_range(a: Mask, b: Mask) -> None:
    value = boundary_iou(a, b)
    assert 0 <= value <= 1
    assert value == boundary_iou(b, a)
    assert boundary_iou(a, a) == 1


def test_boundary_iou_depends_on_the_contour_alone() -> None:
    outer = np.zeros((300, 400), dtype=bool)
    outer[50:250, 50:350] = True
    holed = outer.copy()
    holed[140:160, 190:210] = False  # deep inside: 10 px bands of a 500 px diagonal
    shifted = np.roll(outer, 5, axis=1)
    assert mask_iou(outer, shifted) > 0.96
    assert boundary_iou(outer, shifted) < 0.8
    band = 300 * 200 - 280 * 180
    assert boundary_iou(outer, outer & ~_eroded(outer, 10)) == 1
    assert boundary_iou(outer, holed) < 1
    assert boundary_iou(outer, np.zeros_like(outer)) == 0
    assert np.count_nonzero(outer & ~_eroded(outer, 10)) == band


def test_boundary_iou_counts_the_image_s_edge_as_contour() -> None:
    full = np.ones((300, 400), dtype=bool)
    rim = full & ~_eroded(full, 10)
    assert boundary_iou(full, rim) == 1


def test_boundary_iou_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(3, 3\)"):
        boundary_iou(np.ones((2, 2), bool), np.ones((3, 3), bool))


def _eroded(mask: Mask, width_px: int) -> Mask:
    padded = np.pad(mask, width_px)
    rows, columns = mask.shape
    shifts = [
        padded[dy : dy + rows, dx : dx + columns]
        for dy in (0, width_px, 2 * width_px)
        for dx in (0, width_px, 2 * width_px)
    ]
    return reduce(np.logical_and, shifts)


@pytest.mark.parametrize("step", ["last", "best-scored", 3])
def test_no_object_predicts_an_empty_mask(step: StepChoice) -> None:
    said = rollout(1, 2, scores=(None, 0.9), reason=StopReason.NO_OBJECT)
    result = measure_rollout(said, step=step, max_clicks=4, with_boundary=True)
    assert (result.iou, result.intersection, result.union) == (0.0, 0, 8)
    assert (result.has_object, result.predicts_object, result.clicks) == (True, False, 2)
    assert result.iou_after_click == (0.0, 0.5, 1.0, 0.0, 0.0)
    assert result.boundary_iou == 0.0


def test_no_object_leaves_the_masks_of_earlier_clicks() -> None:
    said = rollout(1, 2, reason=StopReason.NO_OBJECT)
    result = measure_rollout(said, step=2, max_clicks=4)
    assert (result.iou, result.predicts_object) == (1.0, True)


def test_no_object_is_right_where_there_is_none() -> None:
    said = replace(rollout(3, reason=StopReason.NO_OBJECT), truth=columns(0))
    result = measure_rollout(said, step="last", max_clicks=2)
    assert (result.iou, result.has_object, result.predicts_object) == (1.0, False, False)
    assert result.iou_after_click == (1.0, 0.0, 1.0)
