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
    lines += [_line(label, figures[key]) for key, label in _WITH_INTERVAL if key in figures]
    if "IoU@0" in figures:
        lines.append(_line("IoU@0", figures["IoU@0"]))
    lines += [_line(f"IoU@{k}", f) for k, f in enumerate(figures.get("IoU@k", ()), start=1)]
    lines += [_line(label, f) for label, f in figures.get("NoC", {}).items()]
    lines += [_count_line(label, f) for label, f in figures.get("NoF", {}).items()]
    lines += _calibration_lines(figures.get("score_calibration"))
    seconds = figures.get("SPC")
    lines.append(f"| seconds per click | {'not measured' if seconds is None else seconds} | |")
    lines += [
        _count_line(f"ended by {escape_markdown(name)}", f)
        for name, f in figures["stop_reasons"].items()
    ]
    lines += [
        f"| invalid: {escape_markdown(cause)} | {count} | |"
        for cause, count in figures.get("invalid_answers", {}).items()
    ]
    lines += [
        f"| invalid answer of the form: {escape_markdown(form) or 'empty'} | {count} | |"
        for form, count in figures.get("invalid_forms", {}).items()
    ]
    lines += [f"| targets | {figures['targets']} | |", f"| images | {figures['images']} | |", ""]
    lines += ["| setting | |", "|---|---|"]
    lines += [
        f"| {escape_markdown(name)} | {escape_markdown(value)} |"
        for name, value in settings.items()
    ]
    remark = remark_on_images(figures["images"])
    lines += ["", f"{METHOD}.", *([f"Warning: {remark}."] if remark else [])]
    return "\n".join(lines) + "\n"


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
        figure: with `value`, `low` and `high`; the limits None where there is no interval.
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


def _calibration_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    if calibration is None:
        return []
    labels = {
        "MAE": "score MAE, percentage points",
        "MSE": "score MSE, percentage points squared",
        "Pearson": "score and IoU, Pearson",
        "Spearman": "score and IoU, Spearman",
    }
    lines = [
        _line(label, calibration[name])
        for name, label in labels.items()
        if calibration[name] is not None
    ]
    return [*lines, f"| masks scored by the model | {calibration['masks']} | |"]


def _line(label: str, figure: Mapping[str, Any]) -> str:
    return f"| {label} | {figure['value']:.3f} | {_limits(figure, digits=3)} |"


def _count_line(label: str, figure: Mapping[str, Any]) -> str:
    return f"| {label} | {figure['value']} | {_limits(figure, digits=0)} |"


def _limits(figure: Mapping[str, Any], *, digits: int) -> str:
    if figure["low"] is None:
        return "no interval"
    return f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}"


def escape_markdown(value: object) -> str:
    """Return a value as plain text that neither Markdown nor HTML interprets."""
    text = html.escape(visible(" ".join(str(value).split())), quote=False)
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", text)
