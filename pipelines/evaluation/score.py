"""The job `hlmat score`: figures of a prediction file, next to those of SegAgent's scorer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.formats.predictions import PredictedTarget, read_predictions
from hlmat.export.reports.evaluation_report import figure_text
from hlmat.pipelines.evaluation.results import INTERVALS
from hlmat.pipelines.settings.evaluation_options import SCORE, StepOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.metrics.bootstrap import METHOD, remark_on_images
from hlmat.transforms.metrics.segagent_scorer import MOST_EXPRESSIONS, segagent_figures
from hlmat.transforms.metrics.summary import summarize
from hlmat.transforms.metrics.target_results import RolledOut, StepChoice, measure_rollout

_SHOWN = (
    *("gIoU", "cIoU", "N-acc", "T-acc", "boundary_IoU"),
    *("invalid_rate", "clicks_per_target"),
)
_CLOSE = 5e-5


def score_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compute every figure from the masks of a file; IoUs in the file are not used.

    Raises:
        ConfigError: `--step` is invalid.
        DataError: the file cannot be read or measured, or has no scores to choose by.
    """
    check = Check()
    step = Values(arguments, SCORE, check).build(StepOptions).choice
    check.done()
    predicted = read_predictions(arguments.predictions)
    if step == "best-scored" and not any(_is_scored(p.rollout) for p in predicted):
        raise DataError(
            f"{arguments.predictions}: no mask has a score, so --step best-scored has nothing to "
            "choose by; use --step last, or --step K for the mask after click K"
        )
    figures = summarize(
        measure_rollout(p.rollout, step=step, max_clicks=0, with_boundary=True) for p in predicted
    ).figures()
    return {
        **figures,
        "intervals": INTERVALS,
        "step": step,
        "expressions": len(predicted),
        "segagent_scorer": _segagent(predicted, figures, step=step),
    }


def format_scores(figures: Mapping[str, Any]) -> str:
    """Return figures as aligned lines of text."""
    lines = [
        ("expressions", f"{figures['expressions']} on {figures['images']} images"),
        ("prediction", f"step {figures['step']}"),
    ]
    lines += [
        (name, figure_text(figures[name], digits=4))
        for name in (
            "gIoU",
            "cIoU",
            "N-acc",
            "T-acc",
            "boundary_IoU",
            "invalid_rate",
            "clicks_per_target",
        )
        if name in figures
    ]
    theirs = figures["segagent_scorer"]
    if theirs["cIoU"] is not None:
        lines.append(
            (
                "SegAgent's scorer",
                f"gIoU {theirs['gIoU']:.4f}, cIoU {theirs['cIoU']:.4f} over "
                f"{theirs['expressions']} expressions",
            )
        )
    lines += [("difference", text) for text in theirs["differences"]]
    remark = remark_on_images(figures["images"])
    if remark is not None:
        lines.append(("warning", remark))
    width = max(len(label) for label, _ in lines) + 2
    text = "\n".join(f"{label:<{width}} {value}" for label, value in lines)
    return f"{text}\n{METHOD}"


def _is_scored(rollout: RolledOut) -> bool:
    return any(s is not None for s in (*rollout.predicted_ious, rollout.last_predicted_iou))


def _segagent(
    predicted: Sequence[PredictedTarget], figures: Mapping[str, Any], *, step: StepChoice
) -> dict[str, Any]:
    """Return the figures of SegAgent's scorer and, in sentences, why they differ."""
    differences = []
    if len(predicted) > MOST_EXPRESSIONS:
        differences.append(
            f"its evaluator writes only the first {MOST_EXPRESSIONS:,} expressions, "
            f"{len(predicted) - MOST_EXPRESSIONS:,} fewer than this file"
        )
    pngs = sum(p.rollout.image.lower().endswith(".png") for p in predicted)
    if pngs:
        differences.append(f"its evaluator skips .png images, {pngs} in this file")
    if any(p.rollout.ignore is not None for p in predicted):
        differences.append("it counts ignored pixels as background")
    groups = sum(
        k == 0 or p.rollout.image != predicted[k - 1].rollout.image for k, p in enumerate(predicted)
    )
    if groups > len({p.rollout.image for p in predicted}):
        differences.append(
            "entries of one image are not adjacent: it groups only adjacent entries, which changes "
            "its per-image table but not its totals"
        )
    try:
        theirs = segagent_figures([(p.rollout, p.outputs) for p in predicted], step=step)
    except DataError as error:
        return {
            "gIoU": None,
            "cIoU": None,
            "expressions": 0,
            "differences": [*differences, str(error)],
        }
    if theirs.skipped:
        differences.append(
            f"it leaves out {theirs.skipped} expressions without any mask; here they count as "
            "empty predictions"
        )
    ours = (figures["gIoU"]["value"], figures["cIoU"]["value"])
    gaps = (theirs.giou - ours[0], theirs.ciou - ours[1])
    if step == "best-scored" and max(map(abs, gaps)) > _CLOSE:
        differences.append(
            "it reads scores differently: the last mask never wins by its score, and one "
            "unreadable text sets all scores of its expression to 0"
        )
    if step == "last":
        differences.append("it has no option for the last mask; these are its rules applied to it")
    if max(map(abs, gaps)) > _CLOSE:
        differences.append(f"in total: gIoU {gaps[0]:+.4f}, cIoU {gaps[1]:+.4f}")
    return {
        "gIoU": theirs.giou,
        "cIoU": theirs.ciou,
        "expressions": theirs.measured,
        "differences": differences,
    }
