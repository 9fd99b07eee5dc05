from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import builders
from hlmat.transforms.core.records import (
    Box,
    Click,
    Rle,
    Step,
    StopReason,
    Target,
    Trajectory,
)
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.prompting.strips import image_strip

HEIGHT, WIDTH = 400, 600


def make_trajectory(num_clicks: int = 2) -> Trajectory:
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[100:300, 150:450] = True
    rle = encode_mask(truth)
    steps = [Step(Box(150, 100, 450, 300), rle, 0.5, 0.5, is_initial=True)]
    steps += [Step(Click(599, 399, i % 2 == 0), rle, 0.5, 0.0) for i in range(num_clicks)]
    return Trajectory(
        target=Target(builders.target_ref("t1", "x"), rle),
        steps=tuple(steps),
        stop_reason=StopReason.MAX_CLICKS,
        provenance=builders.provenance("", ""),
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
    target = dataclasses.replace(make_trajectory().target, truth=encode_mask(truth))
    step = Step(Click(2, 299, True), encode_mask(truth), 1.0, 1.0)
    trajectory = dataclasses.replace(make_trajectory(), target=target, steps=(step,))
    strip = image_strip(np.zeros((300, 3, 3), np.uint8), trajectory)
    assert strip.shape[1] > 3 * 160


def test_an_image_of_another_size_is_refused() -> None:
    target = dataclasses.replace(make_trajectory().target, truth=Rle("0", (4, 4)))
    trajectory = dataclasses.replace(make_trajectory(), target=target)
    with pytest.raises(ValueError, match=r"image is \(400, 600\).*'t1' is \(4, 4\)"):
        image_strip(IMAGE, trajectory)
