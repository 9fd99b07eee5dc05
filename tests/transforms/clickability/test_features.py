"""What the features of an error's pixels measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hlmat.transforms.clickability.click_model import FEATURES, ClickModel, built_in_click_model
from hlmat.transforms.clickability.features import error_pixels
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.oracle.click import error_regions
from hlmat.transforms.oracle.distance import deepest_pixel

MASKS = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).random((2, 9, 11)) < 0.6)


def two_squares() -> tuple[Mask, Mask]:
    """A missed square of 5 pixels' side and an included one of 3, in an image of 20 by 30."""
    prediction, truth = np.zeros((2, 20, 30), dtype=np.bool_)
    truth[5:10, 2:7] = True
    prediction[12:15, 20:23] = True
    return prediction, truth


def test_each_feature_of_a_pixel() -> None:
    prediction, truth = two_squares()
    pixels = error_pixels(prediction, truth)
    assert len(pixels) == 34
    centre, corner = pixels.place_of(4, 7), pixels.place_of(2, 5)
    other = pixels.place_of(21, 13)
    assert centre is not None
    assert corner is not None
    assert other is not None
    assert [pixels.depth[i] for i in (centre, corner, other)] == [3, 1, 2]
    expected = {
        "log_depth": (0, np.log(1 / 3), 0),
        "depth": (1, 1 / 3, 1),
        "region_depth": (0, 0, np.log(2 / 3)),
        "region_share": (np.log(25 / 34), np.log(25 / 34), np.log(9 / 34)),
        "missed": (1, 1, 0),
        "centre_distance": (0, 0.8, 2),
        "above_centre": (0, 2 / 5, -1),
        "depth_by_size": tuple(d * np.log10(100 * 25 / 600) for d in (1, 1 / 3, 1)),
        "image_edge": (0, 0, 0),
    }
    assert list(expected) == list(FEATURES)
    for column, (name, values) in enumerate(expected.items()):
        found = pixels.features()[[centre, corner, other], column]
        assert found == pytest.approx(values), name


def test_the_edge_of_the_image_is_a_tenth_of_its_shorter_side() -> None:
    truth = np.ones((40, 60), dtype=np.bool_)
    pixels = error_pixels(np.zeros_like(truth), truth)
    row = [pixels.feature("image_edge")[pixels.place_of(x, 20)] for x in (0, 1, 4, 30, 59)]
    assert row == pytest.approx([1, 0.75, 0, 0, 1])


def test_a_target_without_an_object_is_measured_by_its_image() -> None:
    prediction = np.zeros((10, 20), dtype=np.bool_)
    prediction[2:4, 3:5] = True
    pixels = error_pixels(prediction, np.zeros_like(prediction))
    assert pixels.object_box_xyxy == (0, 0, 20, 10)
    assert not pixels.is_missed.any()
    assert np.isfinite(pixels.features()).all()


def test_no_error_has_no_pixels() -> None:
    truth = np.ones((3, 4), dtype=np.bool_)
    assert len(error_pixels(truth, truth)) == 0
    assert len(error_pixels(~truth, ~truth)) == 0


@settings(max_examples=40, deadline=None)
@given(MASKS, st.integers(0, 10), st.integers(0, 8))
def test_the_pixels_are_those_of_the_error_and_depth_is_the_oracles(
    masks: np.ndarray, x: int, y: int
) -> None:
    prediction, truth = masks
    ignore = np.zeros_like(truth)
    ignore[0] = True
    pixels = error_pixels(
        prediction, truth, ignore=ignore, clicked=(Click(x, y, True), Click(40, 40, True))
    )
    missed, included = error_regions(prediction, truth, ignore=ignore)
    wrong = missed | included
    wrong[y, x] = False
    assert np.array_equal(np.argwhere(wrong), np.column_stack([pixels.y, pixels.x]))
    assert np.array_equal(pixels.is_missed, truth[pixels.y, pixels.x])
    if not len(pixels):
        return
    everything = error_pixels(prediction, truth, ignore=ignore)
    deepest = max(d.squared_depth for m in (missed, included) if (d := deepest_pixel(m)))
    assert round(float(everything.depth.max()) ** 2) == deepest
    assert np.isfinite(pixels.features()).all()
    probabilities = pixels.probabilities(built_in_click_model())
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.min() > 0


@settings(max_examples=25, deadline=None)
@given(arrays(np.bool_, (2, 7, 9)))
def test_baselines_are_special_cases(masks: np.ndarray) -> None:
    pixels = error_pixels(*masks)
    if not len(pixels):
        return
    uniform = pixels.probabilities(ClickModel({}, source="a test"))
    assert uniform == pytest.approx(np.full(len(pixels), 1 / len(pixels)))
    by_depth = ClickModel({"log_depth": 1, "region_depth": 1}, source="a test")
    assert pixels.probabilities(by_depth) == pytest.approx(pixels.depth / pixels.depth.sum())


def test_some_of_the_pixels_keep_their_features() -> None:
    pixels = error_pixels(*two_squares())
    chosen = np.array([3, 30])
    assert np.array_equal(pixels.at(chosen).features(), pixels.features()[chosen])
    with pytest.raises(ValueError, match="'width' is no feature"):
        pixels.feature("width")
