"""Figures over the deciles of people's clicks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.metrics.click_curves import ClickProtocol
from hlmat.transforms.metrics.click_deciles import decile_figures
from hlmat.transforms.metrics.target_results import TargetResult

PROTOCOL = ClickProtocol(max_clicks=2, stop_on_no_gain=False)


def result(target: str, *ious: float) -> TargetResult:
    return TargetResult(
        target_id=target,
        image=target[0],
        intersection=0,
        union=1,
        iou=ious[-1],
        iou_after_click=(0.0, *ious),
        clicks=2,
        stop_reason=None,
    )


def test_mean_difference_and_spread_of_each_figure() -> None:
    unlikely = {
        "a1": result("a1", 0.2, 0.6),
        "b1": result("b1", 0.5, 0.7),
        "c1": result("c1", 1, 1),
    }
    likely = {"a1": result("a1", 0.8, 0.9), "b1": result("b1", 0.7, 0.7)}
    found = decile_figures([unlikely, likely], PROTOCOL)
    assert {key: found[key] for key in ("targets", "images", "unpaired")} == {
        "targets": 2,
        "images": 2,
        "unpaired": 1,
    }
    first = found["figures"]["IoU@1"]
    assert [each["value"] for each in first["deciles"]] == pytest.approx([0.35, 0.75])
    assert first["mean"]["value"] == pytest.approx(0.55)
    assert first["likely_minus_unlikely"]["value"] == pytest.approx(0.4)
    assert first["spread"]["value"] == pytest.approx((0.3 + 0.1) / 2)
    assert found["figures"]["gIoU"]["mean"]["value"] == pytest.approx(0.725)
    noc = found["figures"]["NoC@80 (max 2 clicks)"]
    assert [each["value"] for each in noc["deciles"]] == [2, 1.5]
    assert noc["likely_minus_unlikely"]["change"] == "no change shown"


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=10))
def test_the_mean_is_the_mean_of_the_deciles(ious: list[list[float]]) -> None:
    deciles = [
        {f"{name}1": result(f"{name}1", iou, iou) for name, iou in zip("abcd", row, strict=True)}
        for row in ious
    ]
    for figure in decile_figures(deciles, PROTOCOL)["figures"].values():
        means = [each["value"] for each in figure["deciles"]]
        assert figure["mean"]["value"] == pytest.approx(np.mean(means))
        assert figure["spread"]["value"] >= 0
        assert figure["likely_minus_unlikely"]["value"] == pytest.approx(means[-1] - means[0])


def test_deciles_without_a_common_target_are_refused() -> None:
    with pytest.raises(ValueError, match="share no target"):
        decile_figures([{"a": result("a", 1, 1)}, {"b": result("b", 1, 1)}], PROTOCOL)
    with pytest.raises(ValueError, match="at least 2 deciles, got 1"):
        decile_figures([{"a": result("a", 1, 1)}], PROTOCOL)
