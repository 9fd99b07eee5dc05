"""The index of a page: short columns of many targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from builders import step, target, trajectory
from hlmat.export.view.index import index_columns, outcomes_of, paired_columns, row_numbers
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.metrics.target_results import measure_rollout, rolled_out
from viewed_runs import clicked, viewed, write_run


def test_columns_are_those_of_the_trajectories(tmp_path: Path) -> None:
    scored = clicked(1, 10, 20)
    last = replace(scored.steps[1], score=0.91234)
    made = [
        clicked(0, 5, 15, text="a cup"),
        replace(scored, steps=(scored.steps[0], last), last_predicted_iou=0.5),
        clicked(2),
    ]
    found = index_columns(viewed(write_run(tmp_path, made)).targets, 0, 10)
    assert found["id"] == ["t0", "t1", "t2"]
    assert found["texts"] == [["a cup"], ["object 1"], ["object 2"]]
    assert found["iou"] == [0.75, 1.0, 0.0]
    assert found["clicks"] == [2, 2, 0]
    assert found["segmenterScore"] == [None, 0.9123, None]
    assert found["modelScore"] == [None, 0.5, None]
    assert found["curve"] == [[0.0, 0.25, 0.75], [0.0, 0.5, 1.0], [0.0]]
    assert found["image"] == [0, 1, 2]


def test_curves_are_those_of_the_figures(tmp_path: Path) -> None:
    truth = np.zeros((8, 8), np.bool_)
    truth[2:6, 2:6] = True
    of = target(truth, "t")
    boxed = trajectory(
        of,
        step(truth, Box(1, 1, 7, 7), 0.4, 0.4),
        step(truth, Click(3, 3, True), 0.6, 0.2),
        step(truth, Click(4, 4, True), 0.8, 0.2),
    )
    masked = replace(clicked(1, 10, 20), initial_mask=clicked(1, 4).steps[0].mask, initial_iou=0.2)
    found = index_columns(viewed(write_run(tmp_path, [boxed, masked])).targets, 0, 2)
    for curve, made in zip(found["curve"], [boxed, masked], strict=True):
        assert curve == [
            *measure_rollout(rolled_out(made), step="last", max_clicks=2).iou_after_click
        ]


def test_no_iou_is_rounded_up_to_a_threshold_that_it_misses(tmp_path: Path) -> None:
    made = clicked(0, 10, 20, 19)
    ious = (0.89996, 0.9, 0.79999)
    moved = tuple(replace(s, iou=iou) for s, iou in zip(made.steps, ious, strict=True))
    out = write_run(tmp_path, [replace(made, steps=moved)])
    found = index_columns(viewed(out).targets, 0, 1)
    assert found["curve"] == [[0.0, 0.8999, 0.9, 0.7999]]


def test_neighbours_on_one_image_share_it(tmp_path: Path) -> None:
    first = clicked(0, 10)
    ref = replace(clicked(1, 10).target.ref, image_path="0.png")
    second = replace(clicked(1, 10), target=replace(clicked(1, 10).target, ref=ref))
    rows = viewed(write_run(tmp_path, [first, second, clicked(2, 10)])).targets
    assert index_columns(rows, 0, 10)["image"] == [0, 0, 2]
    assert index_columns(rows, 1, 10)["image"] == [1, 2]


def test_targets_are_paired_by_their_names(tmp_path: Path) -> None:
    first = viewed(write_run(tmp_path / "a", [clicked(n, 10) for n in (0, 1, 2)])).targets
    second = viewed(write_run(tmp_path / "b", [clicked(n, 15) for n in (2, 5, 0)])).targets
    found = paired_columns(index_columns(first, 0, 3), row_numbers(second), outcomes_of(second))
    assert found == {
        "other": [2, None, 0],
        "otherIou": [0.75, None, 0.75],
        "otherClicks": [1, None, 1],
        "otherStop": ["max_clicks", None, "max_clicks"],
        "otherCurve": [[0.0, 0.75], None, [0.0, 0.75]],
    }
