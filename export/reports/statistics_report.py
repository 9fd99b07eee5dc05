"""The report of `hlmat stats`: a run's figures, and charts of each data set and split, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.reports.html_page import escaped, html_page, html_table
from hlmat.export.reports.svg_charts import band_chart, bar_chart, count_map


def render_statistics(
    parts: Sequence[Mapping[str, Any]], *, title: str, figures: Mapping[str, object]
) -> bytes:
    """Return the report as an HTML file that loads nothing and runs no script.

    Args:
        parts: of each data set and split, its `dataset`, `split`, `images`, and what
            `PartStatistics.values` gives.
        title: of the page.
        figures: of the whole run, by label.
    """
    lines = [html_table(("figure", "value"), figures.items())]
    for part in parts:
        lines += [
            f"<h2>{escaped(part['dataset'])} ({escaped(part['split'])})</h2>",
            html_table(("figure", "value"), _facts(part).items()),
            '<div class="charts">',
            *_charts(part),
            "</div>",
        ]
    return html_page(title, lines)


def _facts(part: Mapping[str, Any]) -> dict[str, object]:
    facts: dict[str, object] = {"targets": part["targets"], "images": part["images"]}
    outside = part["first_click"]["outside"]
    facts["first clicks outside the object's box"] = outside
    for name, label in (
        ("model_calls", "questions to the model per target"),
        ("decoder_calls", "requests to the segmenter per target"),
    ):
        if part[name] is not None:
            facts[label] = f"{part[name]:.2f}"
    return facts


def _charts(part: Mapping[str, Any]) -> list[str]:
    counts = {int(count): targets for count, targets in part["clicks"].items()}
    clicks = [(str(k), counts.get(k, 0)) for k in range(max(counts, default=0) + 1)]
    ious = [(each["mean"], each["low"], each["high"]) for each in part["iou_by_click"]]
    edges = [f"{100 * edge:g}" for edge in part["area_edges"]]
    labels = [*(f"<{edge}" for edge in edges), f"≥{edges[-1]}"]
    areas = [*zip(labels, part["areas"], strict=True)]
    depths = [(f"0.{k}", count) for k, count in enumerate(part["first_click"]["depth"])]
    shares = [
        (str(k), share)
        for k, share in enumerate(part["positive_by_click"], start=1)
        if share is not None
    ]
    return [
        bar_chart("Clicks per target", clicks, x="clicks", y="targets"),
        band_chart("IoU by click, mean and quartiles", ious, x="clicks", y="IoU"),
        bar_chart("Areas of the objects", areas, x="percent of the image", y="targets"),
        count_map(
            "First click in the object's box",
            part["first_click"]["grid"],
            x="the box from left to right",
            y="",
        ),
        bar_chart(
            "Depth of the first click in the object",
            depths,
            x="distance to the outside, as a share of the largest",
            y="targets",
        ),
        bar_chart("Share of positive clicks", shares, x="click", y="share"),
    ]
