from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.prompting.overlay import (
    COLOURS,
    draw_box,
    draw_clicks,
    draw_mask,
    draw_outline,
)

images = npst.arrays(np.uint8, (6, 7, 3))
masks = npst.arrays(bool, (6, 7))


@given(images, masks, st.sampled_from(sorted(COLOURS)), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_mask_tints_its_own_pixels_alone(
    image: Image, mask: Mask, colour: str, opacity: float
) -> None:
    before = image.copy()
    shown = draw_mask(image, mask, colour=colour, opacity=opacity)
    exact = image * (1 - opacity) + np.array(COLOURS[colour]) * opacity
    assert shown.dtype == np.uint8
    assert np.array_equal(shown[~mask], image[~mask])
    assert np.abs(shown[mask] - exact[mask]).max(initial=0) <= 0.5
    assert np.array_equal(image, before)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\) does not fit an image of \(2, 3, 3\)"):
        draw_mask(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), bool))


def test_an_unknown_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown colour 'pink', expected one of green, red, blue"):
        draw_mask(np.zeros((2, 3, 3), np.uint8), np.ones((2, 3), bool), colour="pink")


def test_an_opacity_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="opacity must be from 0 to 1, got 50"):
        draw_mask(np.zeros((2, 3, 3), np.uint8), np.ones((2, 3), bool), opacity=50)


def test_clicks_are_discs_of_their_kind() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    shown = draw_clicks(image, [Click(30, 40, True), Click(150, 60, False)], radius=8)
    positive, negative = shown[40 - 6, 30 - 3], shown[60 - 6, 150 - 3]
    assert positive[1] > positive[0]
    assert negative[0] > negative[1]
    assert not image.any()
    assert not shown[:20].any()


def test_clicks_at_the_corners_fit() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    assert draw_clicks(image, [Click(0, 0, True), Click(8, 8, False)]).shape == image.shape


def test_outline_leaves_the_inside_and_follows_holes() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[25:35, 25:35] = False
    shown = draw_outline(np.zeros((60, 60, 3), np.uint8), mask, colour="red", thickness=1)
    assert shown[10, 30].tolist() == [255, 0, 0]
    assert shown[24, 30].tolist() == [255, 0, 0]
    assert not shown[18, 30].any()


def test_box_is_drawn_on_its_outermost_pixels() -> None:
    shown = draw_box(np.full((40, 40, 3), 90, np.uint8), Box(5, 6, 30, 20), thickness=1)
    assert (shown[6, 5:30] == 255).all()
    assert (shown[19, 5:30] == 255).all()
    assert (shown[6:20, 29] == 255).all()
    assert (shown[12, 15] == 90).all()


def test_on_a_photograph(shared_data: Path) -> None:
    path = next((shared_data / "hqseg44k" / "cascade_psp" / "ecssd").glob("*.jpg"))
    read = cv2.imread(str(path))
    assert read is not None
    image = np.asarray(read, np.uint8)
    mask = np.zeros(image.shape[:2], bool)
    mask[10:-10, 10:-10] = True
    naive = image.copy()
    tint = np.array(COLOURS["green"]) * 0.5
    naive[mask] = np.rint(image[mask] * 0.5 + tint)
    assert np.abs(draw_mask(image, mask).astype(int) - naive).max() <= 1
