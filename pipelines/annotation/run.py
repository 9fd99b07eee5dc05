"""What filtering and refining have in common: rollouts from a data set's masks."""

from __future__ import annotations

import csv
import io
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hlmat.export.formats.coco import CocoSource, read_coco_source
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.evaluation.evaluate import evaluated_images
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.run.leak_guard import refuse_leaks
from hlmat.pipelines.run.training_frames import refuse_other_frames
from hlmat.pipelines.run.trajectories import make_trajectories
from hlmat.pipelines.settings.annotation_options import AnnotationConfig
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Rle, Trajectory
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.core.visible_text import visible
from hlmat.transforms.metrics.bootstrap import remark_on_images
from hlmat.transforms.metrics.invalid_answers import invalid_causes, remark_on_invalid
from hlmat.transforms.metrics.target_results import RolledOut, rolled_out
from hlmat.transforms.readers.coco import CocoReader
from hlmat.transforms.readers.folder import IMAGES
from hlmat.transforms.readers.registry import open_reader

# First characters of formulas; some spreadsheets accept the full-width forms, or leading spaces.
_FORMULA_STARTS = ("=", "+", "-", "@", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class Annotation:
    """A mask of the data set and the rollout that started from it.

    Attributes:
        target_id: id in the data set; the rollout's id adds the number of the expression.
        given: the mask that the rollout started from.
    """

    trajectory: Trajectory
    rollout: RolledOut
    target_id: str
    given: Rle

    @classmethod
    def of(cls, trajectory: Trajectory) -> Annotation:
        """Return a rollout's annotation."""
        given = trajectory.initial_mask
        if given is None:
            raise AssertionError("masks of a data set are never empty")
        target_id = trajectory.target.ref.target_id.removesuffix("@0")
        return cls(trajectory, rolled_out(trajectory), target_id, given)

    def columns(self) -> dict[str, Any]:
        """Return the columns that identify it in a table."""
        ref = self.trajectory.target.ref
        return {
            "target_id": self.target_id,
            "image": ref.image_path,
            "object": ref.object_id,
            "expression": ref.expressions[0],
        }


@dataclass(frozen=True)
class AnnotationRun:
    """All rollouts of a command.

    Attributes:
        annotations: in the data set's order.
        figures: common to every report: counts, data set, model.
        source: the instances file of the masks, if they come from one.
        mirrored: the image folder, if each image has one mask file; else None.
        remarks: for the user.
    """

    annotations: Sequence[Annotation]
    figures: Mapping[str, Any]
    source: CocoSource | None
    mirrored: str | None
    remarks: Sequence[str]


@dataclass(frozen=True)
class AnnotationReport:
    """The result of a command.

    Attributes:
        figures: as in metrics.json.
        lines: the figures as text, by label.
        files: written files, by label.
        remarks: for the user.
    """

    figures: Mapping[str, Any]
    lines: Mapping[str, str]
    files: Mapping[str, str]
    remarks: Sequence[str]


def roll_out_annotations(config: AnnotationConfig, *, quiet: bool) -> AnnotationRun:
    """Roll out from the data set's masks, resuming an unfinished run.

    With corrupted masks the result is a measurement, so training images are refused, as for an
    evaluation.

    Raises:
        ConfigError: something that the run needs is missing, or images are training images.
        DataError: the data set cannot be listed, or has no usable mask.
        OutputError: the output folder cannot be written or contains another run.
        IncompleteError: units died; the same call resumes them.
    """
    rollouts, out = config.rollouts, config.rollouts.run.out
    remarks: list[str] = []
    refuse_other_frames(rollouts.run.policy, model=rollouts.model, trained_on=rollouts.trained_on)
    if config.is_corrupted:
        remarks = refuse_leaks(
            partial(evaluated_images, rollouts),
            model=rollouts.model,
            trained_on=rollouts.trained_on,
            allow_leak=rollouts.allow_leak,
        )
    remarks += make_trajectories(rollouts.run, quiet=quiet).remarks
    storage, manifest = storage_for(out), read_run_manifest(out)
    annotations = [Annotation.of(t) for t in read_trajectories(storage, out, manifest=manifest)]
    rejects = Counter(r.reason.value for r in read_rejects(storage, out, manifest=manifest))
    if not annotations:
        raise DataError(
            f"{out}: every mask was rejected, so there is nothing to judge; `hlmat rejects {out}` "
            "says why"
        )
    figures = {
        **{key: manifest.config[key] for key in ("dataset", "split", "policy")},
        "targets": len(annotations) + rejects.total(),
        "images": len({annotation.rollout.image for annotation in annotations}),
        "rejected": rejects.total(),
        "rejects": dict(sorted(rejects.items())),
        "corrupted_to": manifest.config["first_mask"]["corrupted_to"],
    }
    causes = invalid_causes(annotation.trajectory for annotation in annotations)
    found = (
        remark_on_images(figures["images"]) if config.is_corrupted else None,
        remark_on_invalid(causes, rollouts=len(annotations)),
    )
    remarks += [remark for remark in found if remark]
    mirrored = IMAGES if rollouts.run.dataset == "folder" else None
    return AnnotationRun(annotations, figures, _coco_source(config), mirrored, remarks)


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows, at least one, as CSV in UTF-8: names in the first line, empty cells for None.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; control
    characters are escaped.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _coco_source(config: AnnotationConfig) -> CocoSource | None:
    run = config.rollouts.run
    reader = open_reader(run.dataset, run.reader)
    if not isinstance(reader, CocoReader):
        return None
    return read_coco_source(reader.storage, posixpath.join(reader.root, reader.annotations))
