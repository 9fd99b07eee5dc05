"""An evaluation's figures as texts: metrics.json, a Markdown table, a row of a results table."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.transforms.metrics.target_results import TargetResult

_WITH_INTERVAL = (
    ("gIoU", "gIoU"),
    ("cIoU", "cIoU"),
    ("boundary_IoU", "boundary IoU"),
    ("invalid_rate", "invalid answers"),
    ("clicks_per_target", "clicks per target"),
    ("model_calls_per_target", "model calls per target"),
    ("decoder_calls_per_target", "segmenter calls per target"),
)


def render_metrics_json(figures: Mapping[str, Any]) -> bytes:
    """Return figures as JSON, in one order always."""
    return (json.dumps(figures, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()


def render_markdown(
    figures: Mapping[str, Any], *, title: str, settings: Mapping[str, object]
) -> str:
    """Return figures and settings as Markdown tables.

    Args:
        figures: as `evaluation_figures` gives them, with `SPC` and `targets`.
        title: of the section.
        settings: what the run was made with; their texts are escaped.
    """
    lines = [f"## {_escaped(title)}", "", "| figure | value | 95 % interval |", "|---|---|---|"]
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
        _count_line(f"ended by {_escaped(name)}", f) for name, f in figures["stop_reasons"].items()
    ]
    lines += [f"| targets | {figures['targets']} | |", ""]
    lines += ["| setting | |", "|---|---|"]
    lines += [f"| {_escaped(name)} | {_escaped(value)} |" for name, value in settings.items()]
    lines += ["", "Intervals are percentile bootstraps over targets (1,000 resamples, seed 0)."]
    return "\n".join(lines) + "\n"


def results_row(name: str, figures: Mapping[str, Any]) -> str:
    """Return a line of a results table: name, gIoU, cIoU, invalid answers, clicks, targets."""
    cells = [_with_interval(figures[key]) for key in ("gIoU", "cIoU")]
    invalid, clicks = figures["invalid_rate"]["value"], figures["clicks_per_target"]["value"]
    return (
        f"| {_escaped(name)} | {' | '.join(cells)} | {100 * invalid:.1f} % | {clicks:.2f} | "
        f"{figures['targets']} |"
    )


RESULTS_HEADER = (
    "| policy | gIoU | cIoU | invalid answers | clicks per target | targets |\n"
    "|---|---|---|---|---|---|"
)
"""The head of the table whose lines `results_row` gives."""


def worst_and_best(scores: Sequence[TargetResult], *, count: int) -> tuple[list[str], list[str]]:
    """Return the ids of the targets with the lowest and with the highest IoU.

    Equal ones go by their id. No target is in both; of few targets the worst half comes first.
    """
    ordered = sorted(scores, key=lambda s: (s.iou, s.target_id))
    num_worst = min(count, (len(ordered) + 1) // 2)
    num_best = min(count, len(ordered) - num_worst)
    best = sorted(ordered, key=lambda s: (-s.iou, s.target_id))
    worst_ids = [s.target_id for s in ordered[:num_worst]]
    chosen = set(worst_ids)
    return worst_ids, [s.target_id for s in best if s.target_id not in chosen][:num_best]


def _calibration_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    if calibration is None:
        return []
    labels = {
        "MAE": "score MAE, percent points",
        "MSE": "score MSE, percent points squared",
        "Pearson": "score and IoU, Pearson",
        "Spearman": "score and IoU, Spearman",
    }
    lines = [
        _line(label, calibration[name])
        for name, label in labels.items()
        if calibration[name] is not None
    ]
    return [*lines, f"| masks scored by the model | {calibration['masks']} | |"]


def _line(label: str, figure: Mapping[str, float]) -> str:
    return f"| {label} | {figure['value']:.3f} | {figure['low']:.3f} to {figure['high']:.3f} |"


def _count_line(label: str, figure: Mapping[str, float]) -> str:
    return f"| {label} | {figure['value']} | {figure['low']:.0f} to {figure['high']:.0f} |"


def _with_interval(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _escaped(value: object) -> str:
    """Return a text that neither Markdown nor HTML reads as anything but text."""
    text = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", text)
