from __future__ import annotations

import pytest

from hlmat.export.reports.rl_report import render_rl, rl_chart

LINES = [
    {"round": k, "reward": 0.1 * k, "iou": 0.2 * k, "iou_after_first": 0.1, "kl": 0.01 * k}
    for k in (1, 2)
]


def test_a_round_is_a_row_and_what_is_not_known_is_empty() -> None:
    header, rule, first, second = render_rl(LINES).splitlines()
    assert header.startswith("| round | reward | reward iou |")
    assert header.count("|") == rule.count("|") == first.count("|")
    assert first.startswith("| 1 | 0.100 |  |")
    assert "| 0.400 |" in second


def test_the_same_log_gives_the_same_chart() -> None:
    pytest.importorskip("matplotlib")
    chart = rl_chart(LINES)
    assert chart[:4] == b"\x89PNG"
    assert chart == rl_chart(LINES)
