from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.export.reports.evaluation_report import (
    RESULTS_HEADER,
    figure_text,
    render_markdown,
    render_metrics_json,
    results_row,
    worst_and_best,
)
from hlmat.transforms.metrics.target_results import TargetResult


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def make_figures() -> dict[str, Any]:
    return {
        "gIoU": interval(0.7),
        "cIoU": interval(0.8),
        "boundary_IoU": interval(0.5),
        "IoU@k": [interval(0.6), interval(0.7)],
        "NoC": {"NoC@90": interval(5.5)},
        "NoF": {"NoF@90": {"value": 3, "low": 0.7, "high": 5.2}},
        "invalid_rate": interval(0.25),
        "clicks_per_target": interval(2.5),
        "SPC": None,
        "stop_reasons": {"no_gain": {"value": 4, "low": 2.0, "high": 6.0}},
        "targets": 12,
        "images": 30,
    }


def make_result(target_id: str, iou: float) -> TargetResult:
    return TargetResult(target_id, target_id, 1, 1, iou, (0.0, iou), 1, None)


@pytest.mark.parametrize(
    "line",
    [
        "| gIoU | 0.700 | 0.600 to 0.800 |",
        "| IoU@2 | 0.700 | 0.600 to 0.800 |",
        "| NoC@90 | 5.500 | 5.400 to 5.600 |",
        "| NoF@90 | 3 | 1 to 5 |",
        "| ended by no\\_gain | 4 | 2 to 6 |",
        "| seconds per click | not measured | |",
        "| targets | 12 | |",
        "| images | 30 | |",
        "| policy | oracle |",
    ],
)
def test_a_report_has_figures_intervals_and_settings(line: str) -> None:
    text = render_markdown(make_figures(), title="Evaluation", settings={"policy": "oracle"})
    assert line in text.splitlines()
    assert text.splitlines()[-1].startswith("95 % intervals, resampled by image")


def test_few_images_are_reported() -> None:
    figures = {**make_figures(), "images": 7}
    text = render_markdown(figures, title="Evaluation", settings={})
    assert "Warning: 7 images: intervals from fewer than 20 images are rough; use more." in text


def test_a_figure_without_an_interval_is_marked() -> None:
    alone = {"value": 0.5, "low": None, "high": None}
    figures = {
        **make_figures(),
        "images": 1,
        "gIoU": alone,
        "NoF": {"NoF@90": {**alone, "value": 3}},
    }
    lines = render_markdown(figures, title="Evaluation", settings={}).splitlines()
    assert "| gIoU | 0.500 | no interval |" in lines
    assert "| NoF@90 | 3 | no interval |" in lines
    assert figure_text(alone) == "0.500 (no interval)"
    assert "| 0.500 (no interval) | 0.800 (" in results_row("a", figures)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "0.712 (0.690 to 0.734)"),
        ({"digits": 1}, "0.7 (0.7 to 0.7)"),
        ({"sign": "+"}, "+0.712 (+0.690 to +0.734)"),
    ],
)
def test_a_figure_as_text(options: Any, text: str) -> None:
    assert figure_text({"value": 0.7123, "low": 0.69, "high": 0.734}, **options) == text


@given(st.text(), st.text())
def test_markup_in_names_and_values_is_escaped(title: str, value: str) -> None:
    plain = render_markdown(make_figures(), title="t", settings={"name": "v"})
    text = render_markdown(
        make_figures(), title=f"<b>{title}|", settings={"name": f"{value}\n| <script> |"}
    )
    assert "<" not in text
    assert len(text.splitlines()) == len(plain.splitlines())


def test_metrics_are_the_same_bytes_in_any_order() -> None:
    figures = make_figures()
    data = render_metrics_json(figures)
    assert json.loads(data) == figures
    assert data == render_metrics_json(dict(reversed(figures.items())))


def test_a_results_row_fits_its_header() -> None:
    row = results_row("a|b", make_figures())
    assert "0.700 (0.600 to 0.800) | 0.800 (0.700 to 0.900) | 25.0 % | 2.50 | 12 | 30 |" in row
    head = RESULTS_HEADER.splitlines()[0]
    assert row.replace("\\|", "").count("|") == head.count("|")


def test_ties_are_ordered_by_id() -> None:
    results = [make_result(target_id, 0.5) for target_id in "dbca"]
    assert worst_and_best(results, count=2) == (["a", "b"], ["c", "d"])


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=40), st.randoms())
def test_no_target_is_among_worst_and_best(ious: list[float], random: Any) -> None:
    results = [make_result(f"{k:02d}", iou) for k, iou in enumerate(ious)]
    worst, best = worst_and_best(results, count=12)
    assert len(set(worst) | set(best)) == len(worst) + len(best) == min(len(ious), 24)
    by_id = {s.target_id: s.iou for s in results}
    assert all(by_id[w] <= by_id[b] for w in worst for b in best)
    random.shuffle(results)
    assert worst_and_best(results, count=12) == (worst, best)
