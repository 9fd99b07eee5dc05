"""The names of figures over clicks, and the clicks that an IoU takes."""

from __future__ import annotations

import pytest

from hlmat.transforms.metrics.click_curves import ClickProtocol, clicks_to_reach

FIELD = ClickProtocol(max_clicks=20, stop_on_no_gain=False)


@pytest.mark.parametrize(
    ("protocol", "label"),
    [
        (FIELD, "NoC@85"),
        (ClickProtocol(20, True), "NoC@85 (no-gain stop)"),
        (ClickProtocol(5, False), "NoC@85 (max 5 clicks)"),
        (ClickProtocol(20, False, target_iou=0.8), "NoC@85 (stop at IoU 0.8)"),
        (ClickProtocol(20, False, target_iou=0.85), "NoC@85"),  # stops no earlier than NoC counts
        (ClickProtocol(20, False, stop_at_score=0.9), "NoC@85 (stop at score 0.9)"),
        (ClickProtocol(20, False, initial_action="jittered-box"), "NoC@85 (after jittered-box)"),
    ],
)
def test_the_plain_name_is_for_the_field_s_rules_alone(protocol: ClickProtocol, label: str) -> None:
    assert protocol.label("NoC", 0.85) == label


@pytest.mark.parametrize(
    ("ious", "clicks"),
    [
        ([0.9, 0.1], 0),  # before the first click
        ([0.0, 0.85, 0.2], 1),  # the threshold itself counts, and later masks do not
        ([0.0, 0.8], None),
    ],
)
def test_clicks_to_reach_an_iou(ious: list[float], clicks: int | None) -> None:
    assert clicks_to_reach(ious, 0.85) == clicks
