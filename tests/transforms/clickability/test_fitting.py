"""Planted weights are found again, and held-out clicks tell right models from wrong ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.clickability.choices import (
    DISTANCE_TRANSFORM,
    UNIFORM,
    ClickedError,
    clicked_error,
    weights_of,
)
from hlmat.transforms.clickability.click_model import FEATURES, ClickModel
from hlmat.transforms.clickability.features import ErrorPixels, error_pixels
from hlmat.transforms.clickability.fitting import Fit, fit_weights
from hlmat.transforms.clickability.goodness import goodness_of_fit
from hlmat.transforms.clickability.sampling import sample_pixel
from hlmat.transforms.clickability.splitting import split_by_image

ROWS, COLUMNS = np.mgrid[:60, :80]


def scene(seed: int) -> ErrorPixels:
    """Return an error of two regions: most of an ellipse missed, a disc included."""
    rng = np.random.default_rng(seed)
    y, x = rng.integers(15, 45), rng.integers(20, 60)
    height, width = rng.integers(6, 15, 2)
    truth = ((ROWS - y) / height) ** 2 + ((COLUMNS - x) / width) ** 2 < 1
    prediction = truth & (x - width // 2 > COLUMNS)
    y, x = rng.integers(8, 52), rng.integers(8, 72)
    prediction |= ((ROWS - y) ** 2 + (COLUMNS - x) ** 2 < rng.integers(9, 50)) & ~truth
    return error_pixels(prediction, truth)


def clicked(
    weights: Mapping[str, float], *, errors: int, clicks: int, first: int = 0, pixels: int = 5000
) -> list[ClickedError]:
    """Return errors with clicks drawn from a model."""
    model = ClickModel(weights, source="planted")
    found = []
    for seed in range(first, first + errors):
        error = scene(seed)
        probabilities = error.probabilities(model)
        draws = np.random.default_rng([seed, 1]).random(clicks)
        places = [sample_pixel(probabilities, float(draw)) for draw in draws]
        found.append(
            clicked_error(
                error, places, name=f"e{seed}", image=f"i{seed}", max_pixels=pixels, draw=0.5
            )
        )
    return found


def by_name(fit: Fit) -> dict[str, float]:
    return dict(zip(FEATURES, fit.weights.tolist(), strict=True))


@pytest.mark.parametrize(
    "planted",
    [
        {"depth": 3.0, "region_depth": 1.0},
        {"log_depth": 1.5, "missed": 1.0, "centre_distance": -1.0},
        {"above_centre": 2.0, "image_edge": -3.0, "region_share": 0.5, "depth": 2.0},
        {},
    ],
    ids=lambda planted: "+".join(planted) or "uniform",
)
def test_planted_weights_are_found_again(planted: dict[str, float]) -> None:
    fit = fit_weights(clicked(planted, errors=150, clicks=40))
    assert fit.standard_errors is not None
    expected = np.array([planted.get(name, 0.0) for name in FEATURES])
    # Nine weights within 3.5 standard errors each: a right fit fails in 1 of 240 draws.
    assert np.abs(fit.weights - expected).max() < 2.5
    assert (np.abs(fit.weights - expected) / fit.standard_errors).max() < 3.5
    for name in ("missed", "image_edge", "above_centre"):
        assert by_name(fit)[name] == pytest.approx(planted.get(name, 0.0), abs=0.6)


def test_some_of_the_pixels_give_nearly_the_weights_of_all() -> None:
    planted = {"depth": 3.0, "region_depth": 1.0, "missed": 0.5}
    every = fit_weights(clicked(planted, errors=60, clicks=20))
    some = fit_weights(clicked(planted, errors=60, clicks=20, pixels=100))
    assert every.standard_errors is not None
    assert (np.abs(every.weights - some.weights) / every.standard_errors).max() < 1


def test_a_fit_is_no_worse_on_its_own_clicks_than_the_baselines() -> None:
    errors = clicked({"depth": 1.0, "above_centre": 1.0}, errors=20, clicks=5)
    fit = fit_weights(errors)
    for baseline in (UNIFORM, DISTANCE_TRANSFORM):
        logs = [error.log_likelihoods(weights_of(baseline)) for error in errors]
        assert fit.log_likelihood >= np.concatenate(logs).mean() - 1e-3


def test_weights_that_the_clicks_say_nothing_of_stay_0() -> None:
    truth = (ROWS - 30) ** 2 + (COLUMNS - 40) ** 2 < 100
    error = error_pixels(np.zeros_like(truth), truth)
    fit = fit_weights(
        [clicked_error(error, [3, 200], name="e", image="i", max_pixels=5000, draw=0.0)]
    )
    found = by_name(fit)
    for name in ("missed", "region_depth", "region_share", "image_edge"):
        assert found[name] == pytest.approx(0, abs=1e-6)
    assert fit.standard_errors is None
    with pytest.raises(ValueError, match="at least 1 error"):
        fit_weights([])


def test_a_uniform_click_has_the_probability_of_one_pixel() -> None:
    error = scene(0)
    for pixels in (10_000, 50):
        made = clicked_error(error, [0, 5], name="e", image="i", max_pixels=pixels, draw=0.3)
        assert len(made.pixels) == min(pixels, len(error))
        logs = made.log_likelihoods(weights_of(UNIFORM))
        assert logs == pytest.approx(np.full(2, -np.log(len(error))))


def test_held_out_clicks_tell_the_right_model_from_the_baselines() -> None:
    planted = {"depth": 4.0, "above_centre": 1.5}
    model = ClickModel(planted, source="planted")
    found = goodness_of_fit(clicked(planted, errors=60, clicks=20), model)
    assert (found["clicks"], found["images"]) == (1200, 60)
    assert found["gain_over"]["uniform"]["low"] > 0.1
    assert found["gain_over"]["distance_transform"]["low"] > 0
    for name in ("KS", "wasserstein"):
        assert found[name]["model"] < min(found[name]["uniform"], found[name]["distance_transform"])
    assert found["KS"]["model"] < 0.05
    assert found["wasserstein"]["model"] < 0.02
    assert sum(found["deciles"]) == pytest.approx(1)
    assert found["deciles"] == pytest.approx([0.1] * 10, abs=0.03)


def test_clicks_of_a_baseline_fit_that_baseline() -> None:
    planted = dict(DISTANCE_TRANSFORM.weights)
    found = goodness_of_fit(clicked(planted, errors=60, clicks=20), ClickModel({}, "a test"))
    assert found["KS"]["distance_transform"] < 0.05 < found["KS"]["model"]
    assert found["gain_over"]["distance_transform"]["high"] < 0
    assert found["gain_over"]["uniform"] == {"value": 0.0, "low": 0.0, "high": 0.0}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.floats(0.01, 0.99), st.integers(0, 5))
def test_an_image_is_in_one_part_and_the_order_does_not_matter(
    images: int, held_out: float, seed: int
) -> None:
    error = clicked({}, errors=1, clicks=1)[0]
    errors = [
        ClickedError(f"{i}-{k}", f"image {i}", error.clicked, error.pixels, error.count)
        for i in range(images)
        for k in range(2)
    ]
    fitted, held = split_by_image(errors, held_out=held_out, seed=seed)
    assert {e.name for e in (*fitted, *held)} == {e.name for e in errors}
    assert not {e.image for e in fitted} & {e.image for e in held}
    assert fitted
    assert held
    assert abs(len(held) / 2 - held_out * images) <= 1
    _, other = split_by_image(errors[::-1], held_out=held_out, seed=seed)
    assert {e.name for e in other} == {e.name for e in held}


def test_a_single_image_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        split_by_image(clicked({}, errors=1, clicks=1), held_out=0.2, seed=0)
