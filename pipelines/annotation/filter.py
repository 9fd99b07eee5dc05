"""The job `hlmat filter`: score each mask of a data set with a model; separate good from
doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hlmat.export.formats.coco import ScoredAnnotation, coco_json
from hlmat.export.formats.mask_png import mask_names, mask_png
from hlmat.export.reports.evaluation_report import figure_text, render_metrics_json
from hlmat.pipelines.annotation.run import (
    Annotation,
    AnnotationReport,
    AnnotationRun,
    csv_bytes,
    roll_out_annotations,
)
from hlmat.pipelines.settings.annotation_options import AnnotationConfig
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.arrow import table_to_parquet_bytes
from hlmat.transforms.metrics.calibration import (
    KEEPING,
    ScoredMask,
    calibration_figures,
    keeping_figures,
)

METRICS = "metrics.json"
KEPT, DOUBTFUL = "kept", "doubtful"

_COLUMNS = pa.schema(
    [
        ("target_id", pa.string()),
        ("image", pa.string()),
        ("object", pa.int32()),
        ("expression", pa.string()),
        ("predicted_iou", pa.float64()),
        ("verdict", pa.string()),
    ]
)
_IOU_COLUMN = pa.field("iou", pa.float64())


@dataclass(frozen=True)
class Judged:
    """A mask and its verdict.

    Attributes:
        score: the model's score, in [0, 1]; None if its answer has none.
        verdict: `KEPT` or `DOUBTFUL`.
    """

    annotation: Annotation
    score: float | None
    verdict: str

    @classmethod
    def of(cls, annotation: Annotation, *, keep_at: float) -> Judged:
        """Judge a mask by the model's score; without one it is doubtful."""
        score = annotation.rollout.scores[0]
        is_kept = score is not None and score >= keep_at
        return cls(annotation, score, KEPT if is_kept else DOUBTFUL)


def filter_annotations(config: AnnotationConfig, *, quiet: bool = False) -> AnnotationReport:
    """Ask the model about every remaining mask, and write the results.

    Raises:
        ConfigError, DataError, OutputError, IncompleteError: as `roll_out_annotations`.
    """
    run = roll_out_annotations(config, quiet=quiet)
    judged = [Judged.of(a, keep_at=config.keep_at) for a in run.annotations]
    figures = _figures(judged, config=config, run=run)
    files = _write(judged, config=config, run=run, figures=figures)
    remarks = list(run.remarks)
    if figures["unreadable"] == len(judged):
        remarks.append(
            "no answer states a score: the model was not trained to score masks, or is asked in "
            "other words than in its training; see --recipe, --prompt"
        )
    return AnnotationReport(figures, _lines(figures), files, remarks)


def _figures(
    judged: Sequence[Judged], *, config: AnnotationConfig, run: AnnotationRun
) -> dict[str, Any]:
    figures = {
        **run.figures,
        "keep_at": config.keep_at,
        "kept": sum(j.verdict == KEPT for j in judged),
        "doubtful": sum(j.verdict == DOUBTFUL for j in judged),
        "unreadable": sum(j.score is None for j in judged),
    }
    if not config.is_corrupted:
        return figures
    # A mask without a score is not kept.
    masks = [
        ScoredMask(
            j.annotation.rollout.image,
            -1.0 if j.score is None else j.score,
            j.annotation.trajectory.initial_iou,
        )
        for j in judged
    ]
    if scored := [mask for mask in masks if mask.predicted_iou >= 0]:
        figures["score_calibration"] = calibration_figures(scored)
    if masks:
        figures["keeping"] = keeping_figures(masks, keep_at=sorted({*KEEPING, config.keep_at}))
    for name, wanted in (("good", True), ("bad", False)):
        of_kind = [
            j for j in judged if (j.annotation.trajectory.initial_iou >= config.keep_at) is wanted
        ]
        kept = sum(j.verdict == KEPT for j in of_kind)
        figures[name] = {"masks": len(of_kind), "kept": kept, "doubtful": len(of_kind) - kept}
    return figures


def _write(
    judged: Sequence[Judged],
    *,
    config: AnnotationConfig,
    run: AnnotationRun,
    figures: Mapping[str, Any],
) -> dict[str, str]:
    out = config.rollouts.run.out
    storage = storage_for(out)
    storage.remove(f"{out}/{METRICS}")
    rows = [_row(j, with_iou=config.is_corrupted) for j in judged]
    columns = _COLUMNS.append(_IOU_COLUMN) if config.is_corrupted else _COLUMNS
    table = pa.Table.from_pylist(rows, schema=columns)
    storage.write_bytes(f"{out}/scores.csv", csv_bytes(rows))
    storage.write_bytes(f"{out}/scores.parquet", table_to_parquet_bytes(table))
    names = mask_names([j.annotation.trajectory.target.ref for j in judged], mirrored=run.mirrored)
    for verdict, title in ((KEPT, "kept masks"), (DOUBTFUL, "doubtful masks")):
        chosen = [j for j in judged if j.verdict == verdict]
        content = coco_json(map(_scored, chosen), description=title, source=run.source)
        storage.write_bytes(f"{out}/{verdict}.json", content)
        storage.remove_dir(f"{out}/{verdict}")
        if run.mirrored is None:
            continue
        for j, name in zip(judged, names, strict=True):
            if j.verdict == verdict:
                storage.write_bytes(f"{out}/{verdict}/{name}", mask_png(j.annotation.given))
    # Written last: if it exists, everything is complete.
    storage.write_bytes(f"{out}/{METRICS}", render_metrics_json(figures))
    return {
        "kept masks": f"{out}/{KEPT}.json",
        "doubtful masks": f"{out}/{DOUBTFUL}.json",
        "scores": f"{out}/scores.csv, {out}/scores.parquet",
        "figures": f"{out}/{METRICS}",
    }


def _row(judged: Judged, *, with_iou: bool) -> dict[str, Any]:
    row = {
        **judged.annotation.columns(),
        "predicted_iou": judged.score,
        "verdict": judged.verdict,
    }
    return {**row, "iou": judged.annotation.trajectory.initial_iou} if with_iou else row


def _scored(judged: Judged) -> ScoredAnnotation:
    annotation = judged.annotation
    ref = annotation.trajectory.target.ref
    return ScoredAnnotation(annotation.target_id, ref, annotation.given, judged.score)


def _lines(figures: Mapping[str, Any]) -> dict[str, str]:
    lines = {
        "masks": f"{figures['kept'] + figures['doubtful']}, {figures['rejected']} more rejected",
        "kept": f"{figures['kept']}, with a score of {figures['keep_at']:g} or more",
        "doubtful": f"{figures['doubtful']}, of which {figures['unreadable']} without a score",
    }
    for name, what in (("good", "IoU of that or more"), ("bad", "IoU below")):
        if name in figures:
            of_kind = figures[name]
            lines[name] = f"{of_kind['masks']} ({what}), {of_kind['kept']} of them kept"
    for row in figures.get("keeping", ()):
        for name in ("precision", "recall"):
            if row["keep_at"] == figures["keep_at"] and row[name] is not None:
                lines[name] = figure_text(row[name])
    for name, figure in figures.get("score_calibration", {}).items():
        if isinstance(figure, Mapping):
            lines[name] = figure_text(figure)
    return lines
