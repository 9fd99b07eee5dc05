"""Defects of a ground truth, and clicks that chase them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from builders import steps, target, trajectory
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.metrics.mask_noise import chased_clicks, find_defects, measure_outline


def disc(radius: int = 30, *, size: int = 100) -> Mask:
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), radius, 1, -1)
    return mask.astype(np.bool_)


@pytest.mark.parametrize("radius", [10, 30, 49, 80])
def test_a_disc_has_no_defect(radius: int) -> None:
    found = find_defects(disc(radius))
    assert (found.holes, found.islands, found.slivers) == ((), (), ())
    assert not found.mask.any()


def test_a_full_and_an_empty_truth_have_none() -> None:
    for truth in (np.ones((20, 30), np.bool_), np.zeros((20, 30), np.bool_)):
        assert not find_defects(truth).mask.any()


def test_small_holes_and_islands_are_found_with_their_pixels() -> None:
    truth = disc()
    truth[50:52, 50:52] = False
    truth[5:7, 5:8] = True
    found = find_defects(truth)
    assert (found.holes, found.islands, found.slivers) == ((4,), (6,), ())
    assert np.argwhere(found.mask).tolist() == [
        *([y, x] for y in (5, 6) for x in (5, 6, 7)),
        *([y, x] for y in (50, 51) for x in (50, 51)),
    ]


def test_large_holes_and_parts_belong_to_the_object() -> None:
    truth = disc()
    truth[45:55, 45:55] = False
    truth[2:10, 2:10] = True
    assert not find_defects(truth).mask.any()


def test_a_hole_at_the_edge_of_the_image_is_none() -> None:
    truth = np.zeros((60, 60), np.bool_)
    truth[:40, :40] = True
    truth[0:2, 10:12] = False
    found = find_defects(truth)
    assert found.holes == ()


def test_thin_spurs_and_cracks_are_slivers() -> None:
    truth = disc()
    truth[50, 80:95] = True
    truth[40:60, 49:51] = False
    found = find_defects(truth)
    assert len(found.slivers) == 2
    assert found.mask[50, 85]
    assert found.mask[50, 50]
    assert not found.mask[50, 60]


def test_an_object_that_is_thin_has_no_sliver() -> None:
    truth = np.zeros((60, 60), np.bool_)
    truth[30:32, 5:55] = True
    assert find_defects(truth).slivers == ()


def test_clicks_are_judged_by_their_errors() -> None:
    truth = disc()
    truth[50:52, 50:52] = False
    truth[50, 81:95] = True
    clean = disc()
    half = clean.copy()
    half[:, 50:] = False
    bordered = clean.copy()
    bordered &= disc(27)
    made = trajectory(
        target(truth),
        *steps(
            truth,
            (Click(30, 50, True), half),
            (Click(65, 50, True), bordered),
            (Click(50, 21, True), clean),
            (Click(50, 50, False), clean),
            (Click(88, 50, True), clean),
            (Click(2, 2, False), clean),
        ),
    )
    found = chased_clicks(made, find_defects(truth))
    assert found.places == ("object", "border", "defect", "defect", "object")
    assert found.share == pytest.approx(3 / 5)
    assert (found.left, found.unreachable) == (4 + 14, 4 + 14)


def test_ignored_pixels_and_initial_clicks_do_not_count() -> None:
    truth = disc()
    truth[50:52, 50:52] = False
    ignore = np.zeros_like(truth)
    ignore[50:52, 50:52] = True
    clicks = [(Click(30, 50, True), disc()), (Click(50, 50, False), disc())]
    made = trajectory(target(truth, ignore=ignore), *steps(truth, *clicks, ignore=ignore))
    found = chased_clicks(made, find_defects(truth))
    assert (found.places, found.left, found.share) == (("object",), 0, 0.0)
    first = replace(made.steps[0], is_initial=True)
    found = chased_clicks(replace(made, steps=(first, *made.steps[1:])), find_defects(truth))
    assert found.places == ()


def test_a_rough_outline_has_more_corners() -> None:
    square = np.zeros((100, 100), np.bool_)
    square[20:80, 20:80] = True
    found = measure_outline(square)
    assert (found.length, found.corners) == (4 * 59, 4)
    square[18:20, 24:80:8] = True
    assert measure_outline(square).corners > 20
    assert measure_outline(np.zeros((9, 9), np.bool_)).corners == 0
