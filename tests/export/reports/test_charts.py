from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from hlmat.export.reports.charts import (
    iou_by_step_chart,
    ladder_chart,
    learning_curve_chart,
    noc_chart,
    reliability_chart,
)
from hlmat.transforms.core.errors import ConfigError


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.04}


RUNGS = [("SFT", interval(0.4)), ("+ StaR+", interval(0.45))]

TENTHS = [
    {"count": 3, "predicted": 0.15, "iou": 0.3},
    {"count": 1200, "predicted": 0.85, "iou": 0.7},
]
CHARTS: dict[str, Callable[[], bytes]] = {
    "iou_by_step": lambda: iou_by_step_chart(
        {"oracle": [interval(0.6), interval(0.8)], "model": [interval(0.5)]}
    ),
    "noc": lambda: noc_chart([[0.0, 0.5, 0.95], [0.0, 0.86, 0.86]]),
    "ladder": lambda: ladder_chart(
        {"simple": [("SFT", interval(0.6)), ("+ StaR+", interval(0.7))], "thin": RUNGS}
    ),
    "reliability": lambda: reliability_chart({"thin": TENTHS, "simple": TENTHS[:1]}),
    "learning_curve": lambda: learning_curve_chart([(400, interval(0.7)), (100, interval(0.5))]),
}


@pytest.mark.parametrize("chart", CHARTS)
def test_charts_are_images_of_800_by_500_and_the_same_each_time(chart: str) -> None:
    data = CHARTS[chart]()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (500, 800, 3)
    assert data == CHARTS[chart]()
    assert b"tEXt" not in data


def test_a_band_is_drawn() -> None:
    wide = iou_by_step_chart({"a": [interval(0.6), interval(0.8)]})
    exact = [{"value": v, "low": v, "high": v} for v in (0.6, 0.8)]
    assert wide != iou_by_step_chart({"a": exact})


def test_figures_without_an_interval_are_drawn_as_points() -> None:
    alone = [{"value": v, "low": None, "high": None} for v in (0.6, 0.8)]
    exact = [{"value": v, "low": v, "high": v} for v in (0.6, 0.8)]
    assert iou_by_step_chart({"a": alone}) == iou_by_step_chart({"a": exact})
    assert learning_curve_chart([(100, alone[0])]) == learning_curve_chart([(100, exact[0])])


def test_a_ladder_shows_each_rung_with_its_interval() -> None:
    drawn = ladder_chart({"thin": RUNGS})
    exact = [(label, {**figure, "low": figure["value"]}) for label, figure in RUNGS]
    assert drawn != ladder_chart({"thin": exact})
    assert drawn != ladder_chart({"thin": RUNGS[:1]})
    assert drawn != ladder_chart({"thin": RUNGS, "simple": RUNGS})


def test_scores_are_drawn_for_each_set_with_the_number_of_masks() -> None:
    drawn = reliability_chart({"thin": TENTHS})
    more = [{**tenth, "count": tenth["count"] + 1} for tenth in TENTHS]
    assert drawn != reliability_chart({"thin": more})
    assert drawn != reliability_chart({"thin": TENTHS, "simple": TENTHS[:1]})


def test_a_set_that_ends_early_does_not_cut_the_others_off() -> None:
    late_first = ladder_chart({"thin": RUNGS, "many": RUNGS[:1]})
    assert late_first != ladder_chart({"thin": RUNGS[:1], "many": RUNGS[:1]})
    image = cv2.imdecode(np.frombuffer(late_first, np.uint8), cv2.IMREAD_COLOR)
    alone = cv2.imdecode(np.frombuffer(ladder_chart({"thin": RUNGS}), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert alone is not None
    # The labels below the axis are those of all rungs.
    assert np.array_equal(image[460:490], alone[460:490])


def test_a_reached_threshold_stays_reached() -> None:
    assert noc_chart([[0.0, 0.95, 0.1]]) == noc_chart([[0.0, 0.95, 0.95]])
    assert noc_chart([[0.0, 0.95, 0.1]]) != noc_chart([[0.0, 0.1, 0.95]])


def test_points_of_a_learning_curve_may_come_in_any_order() -> None:
    points = [(100, interval(0.5)), (400, interval(0.7))]
    assert learning_curve_chart(points) == learning_curve_chart(points[::-1])


@pytest.mark.parametrize("chart", CHARTS)
def test_a_missing_matplotlib_is_named(chart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ConfigError, match=r"matplotlib.*run `make install-train`, or pip install matplotlib"
    ):
        CHARTS[chart]()
