from __future__ import annotations

import dataclasses
import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import (
    Box,
    Click,
    Provenance,
    Reject,
    RejectReason,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.dataset_io.arrow import trajectory_to_row
from hlmat.transforms.masks.rle import decode_rle, encode_mask, mask_iou, overlap
from hlmat.transforms.metrics.click_curves import (
    ClickProtocol,
    TrajectoryStatistics,
    boundary_iou,
    sum_statistics,
)

FIELD = ClickProtocol(max_clicks=20, stop_on_no_gain=False)
SHORT = ClickProtocol(max_clicks=3, stop_on_no_gain=True)
REF = TargetRef("t1", "d", "s", "a.jpg", "a.jpg", None, 0, ("cup",), "{}", "")
PROVENANCE = Provenance("graphcut", "", "oracle", 0, "f00")

small_masks = npst.arrays(bool, (4, 5))


def make_trajectory(
    masks: list[Mask], *, truth: Mask, ignore: Mask | None = None, boxed: bool = False
) -> Trajectory:
    steps = []
    before = 0.0
    for index, mask in enumerate(masks):
        iou = mask_iou(mask, truth, ignore=ignore)
        is_box = boxed and index == 0
        action = Box(0, 0, 1, 1) if is_box else Click(index, 0, True)
        steps.append(Step(action, encode_mask(mask), iou, iou - before, is_initial=is_box))
        before = iou
    return Trajectory(
        target=Target(REF, encode_mask(truth), None if ignore is None else encode_mask(ignore)),
        steps=tuple(steps),
        stop_reason=StopReason.MAX_CLICKS,
        provenance=PROVENANCE,
    )


def strip(width: int) -> Mask:
    """The first `width` of 100 pixels: its IoU with `strip(100)` is width / 100."""
    mask = np.zeros((1, 100), dtype=bool)
    mask[0, :width] = True
    return mask


some_trajectories = st.builds(
    lambda masks, truth, ignore: make_trajectory(masks, truth=truth, ignore=ignore),
    masks=st.lists(small_masks, max_size=3),
    truth=small_masks,
    ignore=st.none() | small_masks,
)
statistics = some_trajectories.map(lambda t: TrajectoryStatistics.from_trajectory(t, SHORT)) | (
    st.sampled_from(RejectReason).map(
        lambda reason: TrajectoryStatistics.from_reject(Reject(REF, reason, ""), SHORT)
    )
)


@given(st.lists(statistics, max_size=6), st.data())
def test_sums_are_the_same_in_any_order_and_grouping(
    parts: list[TrajectoryStatistics], data: st.DataObject
) -> None:
    direct = sum_statistics(parts, SHORT)
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(0, len(parts)))
    grouped = sum_statistics(shuffled[:cut], SHORT) + sum_statistics(shuffled[cut:], SHORT)
    assert grouped == direct
    assert grouped.final_values() == direct.final_values()


@given(some_trajectories)
def test_row_gives_the_trajectory_s_statistic(trajectory: Trajectory) -> None:
    row = trajectory_to_row(trajectory)
    expected = TrajectoryStatistics.from_trajectory(trajectory, SHORT)
    assert TrajectoryStatistics.from_row(row, SHORT) == expected


@given(st.lists(some_trajectories, min_size=1, max_size=5))
def test_values_equal_the_plain_definitions(trajectories: list[Trajectory]) -> None:
    values = sum_statistics(
        (TrajectoryStatistics.from_trajectory(t, SHORT) for t in trajectories), SHORT
    ).final_values()
    finals = []
    after: dict[int, list[float]] = {k: [] for k in (1, 2, 3)}
    intersections = unions = 0
    for t in trajectories:
        truth = decode_rle(t.target.truth)
        ignore = None if t.target.ignore is None else decode_rle(t.target.ignore)
        last = decode_rle(t.steps[-1].mask) if t.steps else np.zeros_like(truth)
        i, u = overlap(last, truth, ignore=ignore)
        intersections += i
        unions += u
        start = mask_iou(np.zeros_like(truth), truth, ignore=ignore)
        ious = [start, *(s.iou for s in t.steps)]
        finals.append(ious[-1])
        for k, values_at_k in after.items():
            values_at_k.append(ious[min(k, len(ious) - 1)])
    assert values["gIoU"] == pytest.approx(math.fsum(finals) / len(finals), abs=1e-15)
    assert values["cIoU"] == (intersections / unions if unions else 1.0)
    assert values["IoU@k"] == pytest.approx([np.mean(after[k]) for k in after], abs=1e-15)


def test_clicks_to_reach_counts_the_first_click_there_and_max_clicks_for_never() -> None:
    reaches = make_trajectory([strip(50), strip(84), strip(92)], truth=strip(100))
    fails = make_trajectory([strip(82), strip(60)], truth=strip(100))
    values = sum_statistics(
        (TrajectoryStatistics.from_trajectory(t, FIELD) for t in (reaches, fails)), FIELD
    ).final_values()
    assert values["NoC"] == {"NoC@80": 1.5, "NoC@85": 11.5, "NoC@90": 11.5}
    assert values["NoF"] == {"NoF@80": 0, "NoF@85": 1, "NoF@90": 1}
    assert values["clicks_per_target"] == 2.5


def test_reaching_with_the_very_last_click_is_no_failure() -> None:
    protocol = dataclasses.replace(SHORT, stop_on_no_gain=False)
    t = make_trajectory([strip(10), strip(20), strip(95)], truth=strip(100))
    values = TrajectoryStatistics.from_trajectory(t, protocol).final_values()
    assert values["NoC"]["NoC@90 (max 3 clicks)"] == 3
    assert values["NoF"]["NoF@90 (max 3 clicks)"] == 0


def test_a_target_without_steps_counts_zero() -> None:
    t = make_trajectory([], truth=strip(7))
    values = TrajectoryStatistics.from_trajectory(t, SHORT).final_values()
    assert values["IoU@k"] == [0, 0, 0]
    assert (values["gIoU"], values["cIoU"], values["clicks_per_target"]) == (0, 0, 0)


def test_a_box_is_no_click_but_its_mask_counts() -> None:
    protocol = dataclasses.replace(SHORT, initial_action="box")
    t = make_trajectory([strip(85), strip(90)], truth=strip(100), boxed=True)
    values = TrajectoryStatistics.from_trajectory(t, protocol).final_values()
    assert values["IoU@0"] == 0.85
    assert values["IoU@k"] == [0.9, 0.9, 0.9]
    assert values["NoC"]["NoC@85 (no-gain stop, max 3 clicks, after box)"] == 0


def test_counts_and_reasons() -> None:
    values = sum_statistics(
        [
            TrajectoryStatistics.from_trajectory(make_trajectory([], truth=strip(1)), SHORT),
            TrajectoryStatistics.from_reject(Reject(REF, RejectReason.EMPTY_MASK, ""), SHORT),
            TrajectoryStatistics.from_reject(Reject(REF, RejectReason.EMPTY_MASK, ""), SHORT),
        ],
        SHORT,
    ).final_values()
    assert (values["targets"], values["trajectories"], values["rejected"]) == (3, 1, 2)
    assert values["rejects"] == {"empty_mask": 2}
    assert values["stop_reasons"] == {"max_clicks": 1}


def test_nothing_at_all_has_no_means() -> None:
    values = TrajectoryStatistics(SHORT).final_values()
    assert values["gIoU"] is None
    assert values["cIoU"] is None
    assert values["IoU@k"] == [None] * 3


@pytest.mark.parametrize(
    ("protocol", "label"),
    [
        (FIELD, "NoC@85"),
        (ClickProtocol(20, True), "NoC@85 (no-gain stop)"),
        (ClickProtocol(5, False), "NoC@85 (max 5 clicks)"),
        (ClickProtocol(20, False, target_iou=0.8), "NoC@85 (stop at IoU 0.8)"),
        (ClickProtocol(20, False, target_iou=0.85), "NoC@85"),  # stops no earlier than NoC counts
        (ClickProtocol(20, False, initial_action="jittered-box"), "NoC@85 (after jittered-box)"),
    ],
)
def test_noc_bears_the_name_only_where_it_is_the_field_s(
    protocol: ClickProtocol, label: str
) -> None:
    assert protocol.label("NoC", 0.85) == label


def test_figures_of_different_protocols_do_not_add_up() -> None:
    with pytest.raises(ValueError, match=r"different protocols do not add up.*max_clicks=3"):
        _ = TrajectoryStatistics(FIELD) + TrajectoryStatistics(SHORT)


def test_more_clicks_than_the_protocol_allows_are_refused() -> None:
    t = make_trajectory([strip(1)] * 4, truth=strip(9))
    with pytest.raises(ValueError, match="'t1' has 4 clicks, more than the 3 of the protocol"):
        TrajectoryStatistics.from_trajectory(t, SHORT)


@given(small_masks, small_masks)
def test_boundary_iou_is_symmetric_and_in_range(a: Mask, b: Mask) -> None:
    value = boundary_iou(a, b)
    assert 0 <= value <= 1
    assert value == boundary_iou(b, a)
    assert boundary_iou(a, a) == 1


def test_boundary_iou_looks_at_the_contour_alone() -> None:
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
