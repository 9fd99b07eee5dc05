"""The job `hlmat refine`: improve a data set's masks with a model's clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from hlmat.transforms.core.records import Rle
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.metrics.bootstrap import mean_intervals
from hlmat.transforms.metrics.target_results import choose_mask

METRICS = "metrics.json"
MASKS = "masks"


@dataclass(frozen=True)
class Refined:
    """A given mask and its refinement.

    Attributes:
        steps: number of steps that led to the chosen mask; 0 for the given one.
    """

    annotation: Annotation
    steps: int

    @classmethod
    def of(cls, annotation: Annotation) -> Refined:
        """Choose the mask with the model's best score, including the given one."""
        chosen = choose_mask(annotation.rollout, "best-scored")
        return cls(annotation, 0 if chosen is None else chosen + 1)

    @property
    def mask(self) -> Rle:
        """The chosen mask."""
        return self.annotation.trajectory.mask_before(self.steps) or self.annotation.given

    @property
    def is_changed(self) -> bool:
        """Whether the chosen mask differs from the given one."""
        return self.mask != self.annotation.given

    @property
    def score(self) -> float | None:
        """The model's score of the chosen mask."""
        return self.annotation.rollout.scores[self.steps]

    @property
    def clicks(self) -> int:
        """Clicks that led to the chosen mask."""
        return len(self.annotation.trajectory.clicks_before(self.steps))

    @property
    def ious(self) -> tuple[float, float]:
        """True IoU of the given mask and of the chosen one."""
        trajectory = self.annotation.trajectory
        return trajectory.initial_iou, trajectory.iou_before(self.steps)


def refine_masks(config: AnnotationConfig, *, quiet: bool = False) -> AnnotationReport:
    """Roll out from every remaining mask, and write the best-scored masks.

    Raises:
        ConfigError, DataError, OutputError, IncompleteError: as `roll_out_annotations`.
    """
    run = roll_out_annotations(config, quiet=quiet)
    refined = [Refined.of(annotation) for annotation in run.annotations]
    figures = _figures(refined, config=config, run=run)
    files = _write(refined, config=config, run=run, figures=figures)
    return AnnotationReport(figures, _lines(figures), files, run.remarks)


def _figures(
    refined: Sequence[Refined], *, config: AnnotationConfig, run: AnnotationRun
) -> dict[str, Any]:
    figures = {
        **run.figures,
        "changed": sum(r.is_changed for r in refined),
        "unchanged": sum(not r.is_changed for r in refined),
        "unscored": sum(r.score is None for r in refined),
        "model_calls": sum(r.annotation.trajectory.model_calls or 0 for r in refined),
        "segmenter_calls": sum(r.annotation.trajectory.decoder_calls or 0 for r in refined),
    }
    if config.is_corrupted:
        ious = np.array([r.ious for r in refined], np.float64)
        # One table, so that resamples contain both IoUs of a target.
        table = np.column_stack([ious, ious[:, 1] - ious[:, 0]])
        names = ("IoU_before", "IoU_after", "gain")
        images = [r.annotation.rollout.image for r in refined]
        figures |= {
            name: interval.as_dict()
            for name, interval in zip(names, mean_intervals(table, images), strict=True)
        }
        figures["improved"] = int(np.count_nonzero(table[:, 2] > 0))
        figures["worsened"] = int(np.count_nonzero(table[:, 2] < 0))
    return figures


def _write(
    refined: Sequence[Refined],
    *,
    config: AnnotationConfig,
    run: AnnotationRun,
    figures: Mapping[str, Any],
) -> dict[str, str]:
    out = config.rollouts.run.out
    storage = storage_for(out)
    storage.remove(f"{out}/{METRICS}")
    names = mask_names([r.annotation.trajectory.target.ref for r in refined], mirrored=run.mirrored)
    storage.remove_dir(f"{out}/{MASKS}")
    for one, name in zip(refined, names, strict=True):
        storage.write_bytes(f"{out}/{MASKS}/{name}", mask_png(one.mask))
    content = coco_json(map(_scored, refined), description="refined masks", source=run.source)
    storage.write_bytes(f"{out}/refined.json", content)
    rows = [
        _row(one, name, with_ious=config.is_corrupted)
        for one, name in zip(refined, names, strict=True)
    ]
    storage.write_bytes(f"{out}/refinements.csv", csv_bytes(rows))
    # Written last: if it exists, everything is complete.
    storage.write_bytes(f"{out}/{METRICS}", render_metrics_json(figures))
    return {
        "refined": f"{out}/refined.json",
        "images": f"{out}/{MASKS}/*.png",
        "table": f"{out}/refinements.csv",
        "figures": f"{out}/{METRICS}",
    }


def _row(one: Refined, name: str, *, with_ious: bool) -> dict[str, Any]:
    row = {
        **one.annotation.columns(),
        "mask": f"{MASKS}/{name}",
        "score_before": one.annotation.rollout.scores[0],
        "score_after": one.score,
        "clicks": one.clicks,
        "changed": "yes" if one.is_changed else "no",
        "stop_reason": one.annotation.trajectory.stop_reason.value,
    }
    return {**row, "iou_before": one.ious[0], "iou_after": one.ious[1]} if with_ious else row


def _scored(one: Refined) -> ScoredAnnotation:
    ref = one.annotation.trajectory.target.ref
    return ScoredAnnotation(one.annotation.target_id, ref, one.mask, one.score)


def _lines(figures: Mapping[str, Any]) -> dict[str, str]:
    count = figures["changed"] + figures["unchanged"]
    lines = {
        "masks": f"{count}, {figures['rejected']} more rejected",
        "changed": f"{figures['changed']}, the others stay as they are",
        "without score": str(figures["unscored"]),
        "calls": f"model {figures['model_calls']}, segmenter {figures['segmenter_calls']}",
    }
    for name, label in (
        ("IoU_before", "IoU before"),
        ("IoU_after", "IoU after"),
        ("gain", "gain"),
    ):
        if name in figures:
            lines[label] = figure_text(figures[name])
    if "improved" in figures:
        lines["better, worse"] = f"{figures['improved']}, {figures['worsened']}"
    return lines
