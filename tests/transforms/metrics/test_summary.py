"""Figures of a run: sums in any order, plain definitions, and intervals by image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import builders
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import (
    Box,
    Click,
    Reject,
    RejectReason,
    StopReason,
    Trajectory,
)
from hlmat.transforms.masks.rle import decode_rle, mask_iou, overlap
from hlmat.transforms.metrics.click_curves import ClickProtocol
from hlmat.transforms.metrics.summary import Summary, summarize
from hlmat.transforms.metrics.target_results import TargetResult, measure_rollout, rolled_out

FIELD = ClickProtocol(max_clicks=20, stop_on_no_gain=False)
SHORT = ClickProtocol(max_clicks=3, stop_on_no_gain=True)
REF = builders.target_ref("t1")

small_masks = npst.arrays(bool, (4, 5))


def make_trajectory(
    masks: list[Mask],
    *,
    truth: Mask,
    ignore: Mask | None = None,
    boxed: bool = False,
    image: str = "a",
) -> Trajectory:
    actions: list[Box | Click] = [Click(index, 0, True) for index in range(len(masks))]
    if boxed:
        actions[0] = Box(0, 0, 1, 1)
    return builders.trajectory(
        builders.target(truth, "t1", ignore=ignore, image_path=f"{image}.jpg"),
        *builders.steps(truth, *zip(actions, masks, strict=True), ignore=ignore),
        stop_reason=StopReason.MAX_CLICKS,
    )


def result_of(trajectory: Trajectory, protocol: ClickProtocol) -> TargetResult:
    return measure_rollout(rolled_out(trajectory), step="last", max_clicks=protocol.max_clicks)


def summary_of(trajectories: Iterable[Trajectory], protocol: ClickProtocol) -> Summary:
    return summarize((result_of(t, protocol) for t in trajectories), protocol)


def strip(width: int) -> Mask:
    """The first `width` of 100 pixels: its IoU with `strip(100)` is width / 100."""
    mask = np.zeros((1, 100), dtype=bool)
    mask[0, :width] = True
    return mask


some_trajectories = st.builds(
    lambda masks, truth, ignore, image: make_trajectory(
        masks, truth=truth, ignore=ignore, image=image
    ),
    masks=st.lists(small_masks, max_size=3),
    truth=small_masks,
    ignore=st.none() | small_masks,
    image=st.sampled_from("abc"),
)
entries = some_trajectories | st.sampled_from(RejectReason).map(lambda r: Reject(REF, r, ""))


def summed(parts: list[Trajectory | Reject]) -> Summary:
    summary = Summary(SHORT)
    for part in parts:
        if isinstance(part, Reject):
            summary.add_reject(part)
        else:
            summary.add(result_of(part, SHORT))
    return summary


@given(st.lists(entries, max_size=6), st.data())
def test_sums_are_the_same_in_any_order_and_grouping(
    parts: list[Trajectory | Reject], data: st.DataObject
) -> None:
    direct = summed(parts)
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(0, len(parts)))
    grouped = summed(shuffled[:cut]) + summed(shuffled[cut:])
    assert grouped == direct
    assert grouped.values() == direct.values()
    if direct.num_targets:
        assert grouped.figures() == direct.figures()


@given(st.lists(some_trajectories, min_size=1, max_size=5))
def test_values_equal_the_plain_definitions(trajectories: list[Trajectory]) -> None:
    values = summary_of(trajectories, SHORT).values()
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


@pytest.mark.slow
@given(st.lists(some_trajectories, min_size=1, max_size=6))
def test_figures_are_the_values_with_intervals(trajectories: list[Trajectory]) -> None:
    summary = summary_of(trajectories, SHORT)
    values, figures = summary.values(), summary.figures()
    for name in ("gIoU", "cIoU", "clicks_per_target"):
        assert figures[name]["value"] == pytest.approx(values[name])
    for name in ("NoC", "NoF", "stop_reasons"):
        assert {k: f["value"] for k, f in figures[name].items()} == pytest.approx(values[name])
    assert [f["value"] for f in figures["IoU@k"]] == pytest.approx(values["IoU@k"])
    assert figures["measured"] == len(trajectories)
    assert figures["images"] == len({t.target.ref.image_path for t in trajectories})
    has_interval = figures["gIoU"]["low"] is not None
    assert has_interval == (figures["images"] > 1)


def test_sums_that_are_not_kept_by_image_give_the_same_values_and_no_intervals() -> None:
    trajectories = [
        make_trajectory([strip(width)], truth=strip(100), image=image)
        for width, image in ((50, "a"), (70, "a"), (90, "b"))
    ]
    results = [result_of(t, SHORT) for t in trajectories]
    together = summarize(results, SHORT, by_image=False)
    assert together.values() == summarize(results, SHORT).values()
    with pytest.raises(ValueError, match="sums kept by image"):
        together.figures()


def test_more_expressions_of_the_same_images_do_not_narrow_an_interval() -> None:
    once = [
        make_trajectory([strip(20 + 5 * k)], truth=strip(100), image=f"i{k}") for k in range(12)
    ]
    few, many = summary_of(once, FIELD).figures(), summary_of(once * 7, FIELD).figures()
    for name in ("gIoU", "cIoU", "clicks_per_target"):
        assert many[name] == pytest.approx(few[name])
    assert (few["images"], many["images"], many["measured"]) == (12, 12, 84)


def test_clicks_to_reach_counts_the_first_click_there_and_max_clicks_for_never() -> None:
    reaches = make_trajectory([strip(50), strip(84), strip(92)], truth=strip(100))
    fails = make_trajectory([strip(82), strip(60)], truth=strip(100))
    values = summary_of((reaches, fails), FIELD).values()
    assert values["NoC"] == {"NoC@80": 1.5, "NoC@85": 11.5, "NoC@90": 11.5}
    assert values["NoF"] == {"NoF@80": 0, "NoF@85": 1, "NoF@90": 1}
    assert values["clicks_per_target"] == 2.5


def test_reaching_with_the_very_last_click_is_no_failure() -> None:
    protocol = dataclasses.replace(SHORT, stop_on_no_gain=False)
    t = make_trajectory([strip(10), strip(20), strip(95)], truth=strip(100))
    values = summary_of([t], protocol).values()
    assert values["NoC"]["NoC@90 (max 3 clicks)"] == 3
    assert values["NoF"]["NoF@90 (max 3 clicks)"] == 0


def test_a_target_without_steps_counts_zero() -> None:
    values = summary_of([make_trajectory([], truth=strip(7))], SHORT).values()
    assert values["IoU@k"] == [0, 0, 0]
    assert (values["gIoU"], values["cIoU"], values["clicks_per_target"]) == (0, 0, 0)


def test_a_box_is_no_click_but_its_mask_counts() -> None:
    protocol = dataclasses.replace(SHORT, initial_action="box")
    t = make_trajectory([strip(85), strip(90)], truth=strip(100), boxed=True)
    values = summary_of([t], protocol).values()
    assert values["IoU@0"] == 0.85
    assert values["IoU@k"] == [0.9, 0.9, 0.9]
    assert values["NoC"]["NoC@85 (no-gain stop, max 3 clicks, after box)"] == 0


def test_counts_and_reasons() -> None:
    summary = summary_of([make_trajectory([], truth=strip(1))], SHORT)
    for _ in range(2):
        summary.add_reject(Reject(REF, RejectReason.EMPTY_MASK, ""))
    values = summary.values()
    assert (values["targets"], values["trajectories"], values["rejected"]) == (3, 1, 2)
    assert values["rejects"] == {"empty_mask": 2}
    assert values["stop_reasons"] == {"max_clicks": 1}


def test_nothing_at_all_has_no_means() -> None:
    values = Summary(SHORT).values()
    assert values["gIoU"] is None
    assert values["cIoU"] is None
    assert values["IoU@k"] == [None] * 3
    with pytest.raises(ValueError, match="intervals need results"):
        Summary(SHORT).figures()


def a_result(**changes: Any) -> TargetResult:
    return dataclasses.replace(
        TargetResult("t", "a", 1, 2, 0.5, (0.0, 0.5, 0.5, 0.5), 1, StopReason.FINISHED), **changes
    )


@pytest.mark.parametrize(
    ("attribute", "figure"),
    [
        ("boundary_iou", "boundary_IoU"),
        ("model_calls", "model_calls_per_target"),
        ("stop_reason", "invalid_rate"),
    ],
)
def test_a_figure_needs_every_target_to_state_it(attribute: str, figure: str) -> None:
    known = {"boundary_iou": 0.25, "model_calls": 2, "decoder_calls": 3}
    results = [a_result(**known), a_result(image="b", **known)]
    assert figure in summarize(results).figures()
    results[1] = dataclasses.replace(results[1], **{attribute: None})
    assert figure not in summarize(results).figures()


def test_figures_carry_the_names_of_their_rules_and_count_what_was_invalid() -> None:
    results = [a_result(), a_result(image="b", stop_reason=StopReason.INVALID_ACTION)]
    protocol = ClickProtocol(max_clicks=3, stop_on_no_gain=False, initial_action="box")
    figures = summarize(results, protocol).figures()
    assert list(figures["NoC"]) == [f"NoC@{t} (max 3 clicks, after box)" for t in (80, 85, 90)]
    assert figures["invalid_rate"]["value"] == 0.5
    assert figures["stop_reasons"] == {
        "finished": {"value": 1, "low": 0.0, "high": 2.0},
        "invalid_action": {"value": 1, "low": 0.0, "high": 2.0},
    }
    assert figures["IoU@0"]["value"] == 0.0
    without = summarize(results).figures()
    assert "NoC" not in without
    assert without["gIoU"] == figures["gIoU"]


@pytest.mark.parametrize(
    ("initial_action", "after", "iou", "rate"),
    [
        ("none", (0.0, 0.4, 0.6), 0.6, 1.0),
        ("none", (0.0, 0.4, 0.4), 0.4, 0.0),
        ("none", (0.0, 0.5, 0.1), 0.1, None),  # the first click found it
        ("wrong-click", (0.1, 0.7, 0.8), 0.8, 1.0),
        ("wrong-click", (0.6, 0.1, 0.1), 0.1, None),  # the wrong click's mask is good by chance
    ],
)
def test_recovery_counts_targets_whose_first_click_missed(
    initial_action: str, after: tuple[float, ...], iou: float, rate: float | None
) -> None:
    protocol = ClickProtocol(2, False, initial_action=initial_action)
    result = a_result(iou=iou, iou_after_click=after)
    figures = summarize([result], protocol).values()
    assert figures.get("recovery_rate") == rate


def test_an_absent_object_is_not_missed() -> None:
    result = a_result(iou=0.0, iou_after_click=(1.0, 0.0), has_object=False)
    assert "recovery_rate" not in summarize([result], ClickProtocol(1, False)).values()


def test_figures_of_different_protocols_do_not_add_up() -> None:
    with pytest.raises(ValueError, match=r"different protocols do not add up.*max_clicks=3"):
        _ = Summary(FIELD) + Summary(SHORT)


def test_more_clicks_than_the_protocol_allows_are_refused() -> None:
    t = make_trajectory([strip(1)] * 4, truth=strip(9))
    with pytest.raises(ValueError, match="'t1' has 4 clicks, more than the 3 of the protocol"):
        summary_of([t], SHORT)


def test_targets_that_are_no_object() -> None:
    empty = np.zeros((4, 5), np.bool_)
    some, all_of_it = empty.copy(), ~empty
    some[:2] = True
    trajectories = [
        make_trajectory([], truth=empty, image="a"),
        make_trajectory([some], truth=empty, image="b"),
        make_trajectory([empty], truth=empty, image="c"),
        make_trajectory([all_of_it], truth=some, image="d"),
        make_trajectory([], truth=some, image="e"),
        make_trajectory([some, empty], truth=some, image="f"),
    ]
    values = summary_of(trajectories, SHORT).values()
    assert values["N-acc"] == pytest.approx(2 / 3)
    assert values["T-acc"] == pytest.approx(1 / 3)
    # As in the authors' scorer: found 1, else 0; missed objects and wrong masks add to the union.
    assert values["gIoU"] == pytest.approx((1 + 0 + 1 + 0.5 + 0 + 0) / 6)
    assert values["cIoU"] == pytest.approx(10 / (10 + 20 + 10 + 10))
    assert summary_of(trajectories, SHORT).figures()["N-acc"]["value"] == pytest.approx(2 / 3)


def test_figures_of_no_object_need_such_targets() -> None:
    truth = strip(50)
    assert "N-acc" not in summary_of([make_trajectory([], truth=truth)], SHORT).values()
    values = summary_of([make_trajectory([], truth=strip(0))], SHORT).values()
    assert values["N-acc"] == 1.0
    assert "T-acc" not in values
