from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import builders
from hlmat.transforms.core.records import Box, Click, Rle, StopReason, Trajectory, Undo
from hlmat.transforms.prompting.strips import image_strip

HEIGHT, WIDTH = 400, 600


def make_trajectory(num_clicks: int = 2) -> Trajectory:
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[100:300, 150:450] = True
    clicks = [Click(599, 399, i % 2 == 0) for i in range(num_clicks)]
    return builders.trajectory(
        builders.target(truth, "t1", "x"),
        *(builders.step(truth, action) for action in (Box(150, 100, 450, 300), *clicks)),
        stop_reason=StopReason.MAX_CLICKS,
    )


IMAGE = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


def test_states_stand_side_by_side_between_truth_and_end() -> None:
    strip = image_strip(IMAGE, make_trajectory(), panel_height=200)
    assert strip.dtype == np.uint8
    assert strip.shape[0] == 200 + 40 + 2 * 6
    assert strip.shape[1] == 5 * (300 + 6) + 6
    centres = [strip[6 + 100 + 10, 6 + panel * 306 + 150] for panel in range(5)]
    tinted = [int(centre[1]) > int(centre[0]) + 50 for centre in centres]
    # truth, the box on the plain image, two clicks on its mask, the last mask
    assert tinted == [False, False, True, True, True]


def test_many_states_go_on_in_further_rows() -> None:
    strip = image_strip(IMAGE, make_trajectory(20), panel_height=64, columns=6)
    assert strip.shape[0] == 4 * (64 + 40 + 6) + 6


def test_a_trajectory_without_steps_shows_truth_and_end() -> None:
    trajectory = dataclasses.replace(make_trajectory(), steps=())
    assert image_strip(IMAGE, trajectory, panel_height=200).shape[1] == 2 * (300 + 6) + 6


def test_a_trajectory_shows_the_mask_that_it_began_with() -> None:
    trajectory = make_trajectory()
    trajectory = dataclasses.replace(trajectory, initial_mask=trajectory.target.truth)
    strip = image_strip(IMAGE, trajectory, panel_height=200)
    centres = [strip[6 + 100 + 10, 6 + panel * 306 + 150] for panel in range(2)]
    assert [int(centre[1]) > int(centre[0]) + 50 for centre in centres] == [False, True]


def test_a_narrow_image_leaves_room_for_its_caption() -> None:
    truth = np.ones((300, 3), bool)
    step = builders.step(truth, Click(2, 299, True))
    trajectory = builders.trajectory(builders.target(truth), step)
    strip = image_strip(np.zeros((300, 3, 3), np.uint8), trajectory)
    assert strip.shape[1] > 3 * 160


def test_an_image_of_another_size_is_refused() -> None:
    trajectory = builders.trajectory(builders.target(Rle("0", (4, 4)), "t1"))
    with pytest.raises(ValueError, match=r"image is \(400, 600\).*'t1' is \(4, 4\)"):
        image_strip(IMAGE, trajectory)


def test_a_step_back_is_a_panel_without_a_mark() -> None:
    made = make_trajectory(1)
    truth = np.zeros((HEIGHT, WIDTH), bool)
    back = dataclasses.replace(made, steps=(*made.steps, builders.step(truth, Undo())))
    strip = image_strip(IMAGE, back, panel_height=200)
    assert strip.shape[1] == 5 * (300 + 6) + 6
    # The corner that the click before it marks, at the bottom right of its panel.
    corners = [strip[6 + 199, 6 + panel * 306 + 299].tolist() for panel in (2, 3)]
    assert corners[0] != [100, 100, 100]
    assert corners[1] == [100, 100, 100]
