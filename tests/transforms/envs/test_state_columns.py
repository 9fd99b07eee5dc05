"""States survive the round trip through text columns of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import builders
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import State
from hlmat.transforms.core.records import Click, Trajectory, Undo
from hlmat.transforms.envs.state import list_targets
from hlmat.transforms.envs.state_columns import (
    COLUMNS,
    read_clicks,
    read_mask,
    state_columns,
    write_clicks,
    write_mask,
)
from hlmat.transforms.masks.boxes import truth_box
from hlmat.transforms.masks.rle import decode_rle, encode_mask
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.rollout.loop import Episode, Limits, roll_out
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SceneReader


class SetUpOracle(OraclePolicy):
    """The oracle, after one initial click."""

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        return (Click(0, 0, False),)


def make_trajectory(*, with_box: bool = False) -> Trajectory:
    source = list_targets(SceneReader(1))[0][0]
    truth = source.reader.load_truth(source.ref).truth
    image = source.reader.load_image(source.ref.image_path, size_hw=(40, 50))
    return roll_out(
        Episode(
            builders.target(truth, source.ref),
            truth,
            initial_box=truth_box(truth) if with_box else None,
        ),
        image=image,
        segmenter=DiscSegmenter(),
        policy=SetUpOracle(),
        limits=Limits(max_clicks=3, stop_on_no_gain=False, target_iou=None),
        provenance=builders.provenance("disc"),
    )


clicks = st.lists(st.builds(Click, st.integers(0, 9999), st.integers(0, 9999), st.booleans()))


@given(clicks)
def test_clicks_come_back_as_they_were_written(some: list[Click]):
    assert read_clicks(write_clicks(some)) == tuple(some)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_masks_come_back_as_they_were_written(mask: np.ndarray):
    found = read_mask(write_mask(encode_mask(mask)))
    assert found is not None
    assert np.array_equal(found, mask)


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_is_no_click_and_an_empty_mask(nothing: Any):
    assert read_clicks(nothing) == ()
    assert read_mask(nothing) is None


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "[[1, 2]]",
        "[[1, 2, 1]]",
        "[[-1, 2, true]]",
        "[[1.5, 2, true]]",
        "[[true, 2, true]]",
        "[1, 2, true]",
        "nonsense",
        [[1, 2, True]],
    ],
)
def test_what_is_no_list_of_clicks_is_refused(text: Any):
    with pytest.raises(DataError, match=r"clicks .*: expected JSON such as \[\[x, y, true\]"):
        read_clicks(text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"size": [4], "counts": "0d1"}',
        '{"size": [0, 4], "counts": "0d1"}',
        '{"size": [90000, 90000], "counts": "0d1"}',
        '{"size": [4, 13], "counts": [52]}',
        {"size": [4, 13], "counts": "0d1"},
    ],
)
def test_what_is_no_mask_is_refused(text: Any):
    with pytest.raises(DataError, match=r"mask .*: expected JSON such as"):
        read_mask(text)


def test_run_lengths_of_another_size_are_refused_before_they_are_decoded():
    with pytest.raises(DataError, match="its runs cover 52 pixels"):
        read_mask('{"size": [4, 14], "counts": "0d1"}')


def test_a_trajectory_gives_a_row_for_each_click_of_the_policy():
    trajectory = make_trajectory()
    rows = state_columns(trajectory)
    assert len(rows) == 3
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [len(read_clicks(row["clicks"])) for row in rows] == [1, 2, 3]
    assert read_clicks(rows[2]["clicks"])[:2] == read_clicks(rows[1]["clicks"])
    for row, step in zip(rows, trajectory.steps, strict=False):
        mask = read_mask(row["mask"])
        assert mask is not None
        assert np.array_equal(mask, decode_rle(step.mask))
    assert {(row["target_id"], row["expression"]) for row in rows} == {("000#0", "rectangle 0")}


def test_a_trajectory_that_begins_with_a_box_is_refused():
    with pytest.raises(DataError, match=r"000#0 has Box.*--initial-action none"):
        state_columns(make_trajectory(with_box=True))


def test_a_row_has_the_clicks_in_effect_and_an_undo_is_no_row():
    mask = np.ones((3, 4), np.bool_)
    one, two, three = Click(0, 0, True), Click(1, 1, False), Click(2, 2, True)
    steps = [builders.step(mask, action) for action in (one, two, Undo(), three)]
    rows = state_columns(builders.trajectory(builders.target(mask), *steps))
    assert [read_clicks(row["clicks"]) for row in rows] == [(), (one,), (one,)]
