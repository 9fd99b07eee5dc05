"""An evaluation's figures as text: metrics.json, a Markdown table, a row of a results table."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.transforms.core.visible_text import visible
from hlmat.transforms.metrics.bootstrap import METHOD, remark_on_images
from hlmat.transforms.metrics.target_results import TargetResult

_WITH_INTERVAL = (
    ("gIoU", "gIoU"),
    ("cIoU", "cIoU"),
    ("N-acc", "N-acc"),
    ("T-acc", "T-acc"),
    ("boundary_IoU", "boundary IoU"),
    ("recovery_rate", "recovery from a first click below IoU 0.5"),
    ("invalid_rate", "invalid answers"),
    ("clicks_per_target", "clicks per target"),
    ("model_calls_per_target", "model calls per target"),
    ("decoder_calls_per_target", "segmenter calls per target"),
)


def render_metrics_json(figures: Mapping[str, Any]) -> bytes:
    """Return figures as JSON with sorted keys."""
    return (json.dumps(figures, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()


def render_markdown(
    figures: Mapping[str, Any], *, title: str, settings: Mapping[str, object]
) -> str:
    """Return figures and settings as Markdown tables.

    Args:
        figures: of `Summary.figures`, with `SPC` and `targets`.
        title: of the section.
        settings: of the run, by label; the values are escaped.
    """
    lines = [
        f"## {escape_markdown(title)}",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
    ]
    lines += [
        f"| {escape_markdown(label)} | {escape_markdown(value)} | {limits} |".replace("|  |", "| |")
        for label, value, limits in figure_rows(figures)
    ]
    lines.append("")
    lines += ["| setting | |", "|---|---|"]
    lines += [
        f"| {escape_markdown(name)} | {escape_markdown(value)} |"
        for name, value in settings.items()
    ]
    lines += ["", *figure_notes(figures)]
    return "\n".join(lines) + "\n"


def figure_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return every figure of a report as plain text: its label, its value and its interval."""
    rows = [_row(label, figures[key]) for key, label in _WITH_INTERVAL if key in figures]
    if "IoU@0" in figures:
        rows.append(_row("IoU@0", figures["IoU@0"]))
    rows += [_row(f"IoU@{k}", f) for k, f in enumerate(figures.get("IoU@k", ()), start=1)]
    rows += [_row(label, f) for label, f in figures.get("NoC", {}).items()]
    rows += [_count_row(label, f) for label, f in figures.get("NoF", {}).items()]
    rows += _calibration_rows(figures.get("score_calibration"))
    seconds = figures.get("SPC")
    rows.append(("seconds per click", "not measured" if seconds is None else str(seconds), ""))
    rows += [_count_row(f"ended by {name}", f) for name, f in figures["stop_reasons"].items()]
    rows += [
        (f"invalid: {cause}", str(count), "")
        for cause, count in figures.get("invalid_answers", {}).items()
    ]
    rows += [
        (f"invalid answer of the form: {form or 'empty'}", str(count), "")
        for form, count in figures.get("invalid_forms", {}).items()
    ]
    return [*rows, *((name, str(figures[name]), "") for name in ("targets", "images"))]


def figure_notes(figures: Mapping[str, Any]) -> list[str]:
    """Return how the intervals of a report are made, and a warning if there are few images."""
    remark = remark_on_images(figures["images"])
    return [f"{METHOD}.", *([f"Warning: {remark}."] if remark else [])]


def results_row(name: str, figures: Mapping[str, Any]) -> str:
    """Return a row of a results table; see `RESULTS_HEADER`."""
    cells = [figure_text(figures[key]) for key in ("gIoU", "cIoU")]
    invalid, clicks = figures["invalid_rate"]["value"], figures["clicks_per_target"]["value"]
    return (
        f"| {escape_markdown(name)} | {' | '.join(cells)} | {100 * invalid:.1f} % | {clicks:.2f} | "
        f"{figures['targets']} | {figures.get('images', 'unknown')} |"
    )


def figure_text(figure: Mapping[str, Any], *, digits: int = 3, sign: str = "") -> str:
    """Return "0.712 (0.690 to 0.734)".

    Args:
        figure: with `value`, `low` and `high`; the limits are None without an interval.
        digits: after the point.
        sign: "+" for a sign on positive numbers too.
    """
    value = f"{figure['value']:{sign}.{digits}f}"
    if figure["low"] is None:
        return f"{value} (no interval)"
    return f"{value} ({figure['low']:{sign}.{digits}f} to {figure['high']:{sign}.{digits}f})"


RESULTS_HEADER = (
    "| policy | gIoU | cIoU | invalid answers | clicks per target | targets | images |\n"
    "|---|---|---|---|---|---|---|"
)
"""The header of the table with rows of `results_row`."""


def worst_and_best(results: Sequence[TargetResult], *, count: int) -> tuple[list[str], list[str]]:
    """Return the ids of the targets with the lowest and with the highest IoU.

    Ties are ordered by id. No target is in both lists; of few targets the worse half is in the
    first.
    """
    ordered = sorted(results, key=lambda r: (r.iou, r.target_id))
    num_worst = min(count, (len(ordered) + 1) // 2)
    num_best = min(count, len(ordered) - num_worst)
    best = sorted(ordered, key=lambda r: (-r.iou, r.target_id))
    worst_ids = [r.target_id for r in ordered[:num_worst]]
    chosen = set(worst_ids)
    return worst_ids, [r.target_id for r in best if r.target_id not in chosen][:num_best]


def _calibration_rows(calibration: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    if calibration is None:
        return []
    labels = {
        "MAE": "score MAE, percentage points",
        "MSE": "score MSE, percentage points squared",
        "Pearson": "score and IoU, Pearson",
        "Spearman": "score and IoU, Spearman",
    }
    rows = [
        _row(label, calibration[name])
        for name, label in labels.items()
        if calibration[name] is not None
    ]
    return [*rows, ("masks scored by the model", str(calibration["masks"]), "")]


def _row(label: str, figure: Mapping[str, Any]) -> tuple[str, str, str]:
    return label, f"{figure['value']:.3f}", _limits(figure, digits=3)


def _count_row(label: str, figure: Mapping[str, Any]) -> tuple[str, str, str]:
    return label, str(figure["value"]), _limits(figure, digits=0)


def _limits(figure: Mapping[str, Any], *, digits: int) -> str:
    if figure["low"] is None:
        return "no interval"
    return f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}"


def escape_markdown(value: object) -> str:
    """Return a value as plain text that neither Markdown nor HTML interprets."""
    text = html.escape(visible(" ".join(str(value).split())), quote=False)
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", text)
