"""The job `hlmat score`: figures of anybody's prediction file, and the reference's beside them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.formats.predictions import PredictedTarget, read_predictions
from hlmat.pipelines.settings.validation import Check, read_step_choice
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.metrics.segagent_scorer import MOST_EXPRESSIONS, segagent_figures
from hlmat.transforms.metrics.target_results import StepChoice, evaluation_figures, measure_rollout

_CLOSE = 5e-5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat score`."""
    parser.add_argument("predictions", metavar="FILE", help="a prediction file, JSON")
    parser.add_argument(
        "--step",
        metavar="S",
        default="last",
        help="the mask to score: last, best-scored by the model, or that after click K (last)",
    )


def score_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compute every figure from the masks of a file; numbers in it are not trusted.

    Raises:
        ConfigError: a step that is none.
        DataError: the file cannot be read or scored.
    """
    check = Check()
    step = read_step_choice(arguments.step, check)
    check.done()
    predicted = read_predictions(arguments.predictions)
    scores = [measure_rollout(p.rollout, step=step, max_clicks=0) for p in predicted]
    figures = evaluation_figures(scores)
    return {
        **figures,
        "step": step,
        "expressions": len(predicted),
        "images": len({p.image for p in predicted}),
        "segagent_scorer": _reference(predicted, figures, step=step),
    }


def format_scores(figures: Mapping[str, Any]) -> str:
    """Return figures as aligned lines of text."""
    lines = [
        ("expressions", f"{figures['expressions']} on {figures['images']} images"),
        ("prediction", f"step {figures['step']}"),
    ]
    for name in ("gIoU", "cIoU", "boundary_IoU", "invalid_rate", "clicks_per_target"):
        if name in figures:
            f = figures[name]
            lines.append((name, f"{f['value']:.4f}  [{f['low']:.4f}, {f['high']:.4f}]"))
    reference = figures["segagent_scorer"]
    if reference["cIoU"] is not None:
        lines.append(
            (
                "reference's",
                f"gIoU {reference['gIoU']:.4f}, cIoU {reference['cIoU']:.4f} over "
                f"{reference['expressions']} expressions",
            )
        )
    lines += [("differs", text) for text in reference["differences"]]
    width = max(len(label) for label, _ in lines) + 2
    text = "\n".join(f"{label:<{width}} {value}" for label, value in lines)
    return text + "\n[...] are 95 % bootstrap intervals over expressions"


def _reference(
    predicted: Sequence[PredictedTarget], figures: Mapping[str, Any], *, step: StepChoice
) -> dict[str, Any]:
    """Return the reference's figures and, in sentences, why they are others."""
    differences = []
    if len(predicted) > MOST_EXPRESSIONS:
        differences.append(
            f"its evaluator writes the first {MOST_EXPRESSIONS:,} expressions alone, "
            f"{len(predicted) - MOST_EXPRESSIONS:,} fewer than are here"
        )
    pngs = sum(p.image.lower().endswith(".png") for p in predicted)
    if pngs:
        differences.append(f"its evaluator passes over .png images, {pngs} of those here")
    if any(p.rollout.ignore is not None for p in predicted):
        differences.append("it counts ignored pixels as background")
    groups = sum(k == 0 or p.image != predicted[k - 1].image for k, p in enumerate(predicted))
    if groups > len({p.image for p in predicted}):
        differences.append(
            "an image comes back after another one: it groups neighbours alone, which changes "
            "its per-image table but not its totals"
        )
    try:
        reference = segagent_figures([(p.rollout, p.outputs) for p in predicted], step=step)
    except DataError as error:
        return {
            "gIoU": None,
            "cIoU": None,
            "expressions": 0,
            "differences": [*differences, str(error)],
        }
    if reference.skipped:
        differences.append(
            f"it leaves {reference.skipped} expressions without any mask out; here they count "
            "as empty predictions"
        )
    ours = (figures["gIoU"]["value"], figures["cIoU"]["value"])
    gaps = (reference.giou - ours[0], reference.ciou - ours[1])
    if step == "best-scored" and max(map(abs, gaps)) > _CLOSE:
        differences.append(
            "it reads scores otherwise: the last mask never wins by its score, and one text that "
            "cannot be read makes all scores of its expression 0"
        )
    if step == "last":
        differences.append("it has no choice of the last mask; this is what it would make of it")
    if max(map(abs, gaps)) > _CLOSE:
        differences.append(f"in all: gIoU {gaps[0]:+.4f}, cIoU {gaps[1]:+.4f}")
    return {
        "gIoU": reference.giou,
        "cIoU": reference.ciou,
        "expressions": reference.scored,
        "differences": differences,
    }
