"""Statistics of the trajectories of a part of a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders import columns, steps, target, trajectory
from hlmat.transforms.core.records import Box, Click, Undo
from hlmat.transforms.metrics.part_statistics import PartStatistics

SIZE_HW = (20, 40)


def made(*clicks: tuple[Click | Box | Undo, int], **changes: int):
    """Build a trajectory whose object is the first 20 columns and whose masks are the first n."""
    truth = columns(20, size_hw=SIZE_HW)
    answers = [(click, columns(width, size_hw=SIZE_HW)) for click, width in clicks]
    return trajectory(target(truth), *steps(truth, *answers), **changes)


def test_clicks_ious_and_signs_are_counted_by_click() -> None:
    found = PartStatistics(3)
    found.add(made((Click(9, 9, True), 10)))
    found.add(made((Click(0, 0, True), 16), (Click(19, 19, False), 20)))
    values = found.values()
    assert values["targets"] == 2
    assert values["clicks"] == {"1": 1, "2": 1}
    assert [each["mean"] for each in values["iou_by_click"]] == [0, 0.65, 0.75, 0.75]
    assert values["iou_by_click"][2] == {"mean": 0.75, "low": 0.5, "median": 0.5, "high": 1.0}
    assert values["positive_by_click"] == [1.0, 0.0, None]


def test_first_clicks_are_placed_in_the_box_and_the_object() -> None:
    found = PartStatistics(3)
    for click in (Click(0, 0, True), Click(19, 19, True), Click(9, 9, True), Click(30, 5, False)):
        found.add(made((click, 10)))
    first = found.values()["first_click"]
    cells = np.argwhere(np.array(first["grid"])).tolist()
    assert cells == [[0, 0], [4, 4], [9, 9]]
    assert first["outside"] == 1
    # The corners are one pixel deep of ten, the centre is the deepest.
    assert first["depth"] == [0, 2, 0, 0, 0, 0, 0, 0, 0, 1]


def test_areas_are_shares_of_the_image() -> None:
    found = PartStatistics(3)
    found.add(made((Click(9, 9, True), 10)))
    found.add(trajectory(target(np.zeros(SIZE_HW, np.bool_))))
    assert found.values()["areas"] == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.values()["clicks"] == {"0": 1, "1": 1}


def test_initial_actions_are_no_clicks() -> None:
    found = PartStatistics(3)
    found.add(made((Box(0, 0, 20, 20), 10), (Click(15, 9, True), 20)))
    values = found.values()
    assert values["clicks"] == {"1": 1}
    assert [each["mean"] for each in values["iou_by_click"]] == [0.5, 1, 1, 1]


def test_undos_and_later_boxes_count_like_clicks() -> None:
    found = PartStatistics(3)
    box = Box(0, 0, 20, 20)
    of = made((Click(9, 9, False), 10), (Undo(), 0), (box, 20))
    *first, last = of.steps
    found.add(replace(of, steps=(*first, replace(last, is_initial=False))))
    values = found.values()
    assert values["clicks"] == {"3": 1}
    assert [each["mean"] for each in values["iou_by_click"]] == [0, 0.5, 0, 1]
    assert values["positive_by_click"] == [0, None, None]


def test_calls_are_means_if_every_target_has_them() -> None:
    found = PartStatistics(3)
    found.add(made((Click(9, 9, True), 10), model_calls=2, decoder_calls=1))
    found.add(made((Click(9, 9, True), 10), model_calls=4))
    values = found.values()
    assert (values["model_calls"], values["decoder_calls"]) == (3.0, None)


def test_more_clicks_than_allowed_are_refused() -> None:
    of = made(*[(Click(9, 9, True), 10)] * 4)
    with pytest.raises(ValueError, match="target 't' has 4 clicks, the run allows 3"):
        PartStatistics(3).add(of)
    assert PartStatistics(3).values()["iou_by_click"] == []
    assert replace(of, steps=()).num_clicks == 0
