"""The file of a click model, and the model that comes with the package."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.clickability.click_model import (
    FEATURES,
    ClickModel,
    built_in_click_model,
    parse_click_model,
)
from hlmat.transforms.clickability.features import error_pixels
from hlmat.transforms.core.errors import DataError

CONTENT: dict[str, Any] = {
    "format": "hlmat-click-model",
    "version": 1,
    "source": "a test",
    "weights": {"depth": 1},
}


@given(
    st.dictionaries(st.sampled_from(list(FEATURES)), st.floats(-100, 100)),
    st.text(min_size=1).filter(str.strip),
)
def test_a_file_holds_what_was_written(weights: dict[str, float], source: str) -> None:
    model = ClickModel(weights, source=source, fit={"clicks": 3})
    assert parse_click_model(model.to_json(), name="m") == model
    assert model.to_json().isascii()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, '"format" is not "hlmat-click-model"'),
        ({"version": 2}, '"version" is 2, expected 1'),
        ({"weights": None}, '"weights" is missing'),
        ({"source": " "}, '"source" is missing'),
        ({"fit": 3}, '"fit" is not an object'),
        ({"weights": {"depht": 1}}, "weights.depht is no feature; did you mean 'depth'?"),
        ({"weights": {"depth": "1"}}, "weights.depth is '1', expected a number from -100 to 100"),
        ({"weights": {"depth": True}}, "weights.depth is True"),
        ({"weights": {"depth": 101}}, "weights.depth is 101"),
        ({"weights": {"depth": -(10**400)}}, "weights.depth is -1000"),
    ],
)
def test_another_file_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_click_model(json.dumps(CONTENT | change).encode(), name="m.json")
    assert str(caught.value).startswith(f"m.json is not a click model: {message}")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b'{"weights": NaN', b"7"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"m\.json is not a click model"):
        parse_click_model(data, name="m.json")


def test_not_a_number_is_refused() -> None:
    data = json.dumps(CONTENT | {"weights": {"depth": float("nan")}}).encode()
    with pytest.raises(DataError, match=r"weights\.depth is nan, expected a number"):
        parse_click_model(data, name="m.json")


def test_the_built_in_model_gives_a_disc_the_published_ratio_of_depths() -> None:
    # The median of DT over UD in the PDE column of RClicks' table 6.
    ratios = [7.75 / 4.06, 2.13 / 1.20, 1.21 / 0.649, 5.74 / 4.04, 2.76 / 1.36]
    rows, columns = np.mgrid[:301, :301]
    disc = (rows - 150) ** 2 + (columns - 150) ** 2 < 140**2
    pixels = error_pixels(np.zeros_like(disc), disc)
    probabilities = pixels.probabilities(built_in_click_model())
    ratio = float(probabilities @ pixels.depth / pixels.depth.mean())
    assert ratio == pytest.approx(np.median(ratios), abs=0.02)


def test_the_built_in_model_says_what_it_is() -> None:
    model = built_in_click_model()
    assert model.source.startswith("Derived from published summary figures, not fitted to clicks.")
    assert model.fit == {}
    assert {name for name, weight in model.weights.items() if weight} == {"depth", "region_depth"}
