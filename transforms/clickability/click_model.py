"""The weights of a clickability model and the file that holds them.

The probability of a click on a pixel of the error is proportional to the exponential of a weighted
sum of the pixel's features (`hlmat.transforms.clickability.features`). With all weights 0 each
pixel is equally likely.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.suggestions import did_you_mean

FORMAT = "hlmat-click-model"
VERSION = 1
BUILT_IN = "built_in_model.json"
MAX_WEIGHT = 100.0
"""Of a weight, in size: beyond it a model has one likely pixel and all others are impossible."""

FEATURES: Mapping[str, str] = {
    "log_depth": "logarithm of the pixel's depth as a part of its region's greatest",
    "depth": "the pixel's depth as a part of its region's greatest, above 0 to 1",
    "region_depth": "logarithm of the region's greatest depth as a part of the error's greatest",
    "region_share": "logarithm of the region's area as a part of the error's",
    "missed": "1 where the object was missed, 0 where background was included",
    "centre_distance": "distance from the centre of the object's box, in half diagonals, up to 2",
    "above_centre": "height above the centre of the object's box, in box heights, -1 to 1",
    "depth_by_size": "depth times the logarithm to base 10 of the object's area in percent of the "
    "image, -2 to 2",
    "image_edge": "1 at the image's edge, 0 from a tenth of its shorter side on",
}
"""What each feature measures, by name, in the order of the columns."""


@dataclass(frozen=True)
class ClickModel:
    """A clickability model.

    Attributes:
        weights: one for each of `FEATURES`, by name.
        source: where the weights come from, in words.
        fit: how they were fitted and how well they fit, as plain JSON values; {} if they were not.

    >>> ClickModel({"depth": 2.0}, source="an example").weights["missed"]
    0.0
    """

    weights: Mapping[str, float]
    source: str
    fit: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.weights if name not in FEATURES]
        if unknown:
            raise ValueError(
                f"weights.{unknown[0]} is no feature; {did_you_mean(unknown[0], FEATURES)}"
                f"choose from {', '.join(FEATURES)}"
            )
        checked = {name: _weight(name, self.weights.get(name, 0.0)) for name in FEATURES}
        object.__setattr__(self, "weights", checked)

    def identity(self) -> dict[str, float]:
        """Return what determines the clicks, as plain JSON values."""
        return dict(self.weights)

    def to_json(self) -> bytes:
        """Return the content of the model's file; the inverse of `parse_click_model`."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "weights": dict(self.weights),
            **({"fit": dict(self.fit)} if self.fit else {}),
        }
        return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode()


def parse_click_model(data: bytes, *, name: str) -> ClickModel:
    """Read the content of a model's file. Features without a weight have 0.

    Args:
        data: the file's content.
        name: of the file, for messages.

    Raises:
        DataError: it is not the file of a clickability model.
    """
    try:
        content = json.loads(data)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f'"format" is not "{FORMAT}"')
        if content.get("version") != VERSION:
            raise ValueError(f'"version" is {content.get("version")!r:.40}, expected {VERSION}')
        weights, source = content.get("weights"), content.get("source")
        if not isinstance(weights, dict):
            raise ValueError('"weights" is missing: give a number for each feature by name')
        if not isinstance(source, str) or not source.strip():
            raise ValueError('"source" is missing: say where the weights come from')
        fit = content.get("fit", {})
        if not isinstance(fit, dict):
            raise ValueError('"fit" is not an object')
        return ClickModel(weights, source=source, fit=fit)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name} is not a click model: {error}; docs/human_clicks.md describes the file, and "
            "`hlmat fit-clicks` writes one"
        ) from error


@cache
def built_in_click_model() -> ClickModel:
    """Return the model that comes with the package; its file says where the weights come from."""
    data = resources.files(__name__.rpartition(".")[0]).joinpath(BUILT_IN).read_bytes()
    return parse_click_model(data, name=BUILT_IN)


def _weight(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= MAX_WEIGHT:
        raise ValueError(
            f"weights.{name} is {value!r:.40}, expected a number from {-MAX_WEIGHT:g} to "
            f"{MAX_WEIGHT:g}"
        )
    return float(value)
