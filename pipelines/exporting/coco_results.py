"""`hlmat export --format coco-results`: the last masks of a run, as COCO's tools measure them."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from hlmat.export.formats.coco import (
    CocoSource,
    ScoredAnnotation,
    coco_results,
    read_coco_source,
)
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.writer import not_empty
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.exporting.exclusion import excluded_targets, key_of_ref
from hlmat.pipelines.run.finished import open_source
from hlmat.pipelines.settings.export_options import ExportOptions, Running
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.readers.coco import CocoReader

INSTANCES, RESULTS = "instances.json", "results.json"


def export_coco_results(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions, running: Running
) -> dict[str, Any]:
    """Write a run's true and last masks; errors as `export_run`.

    A target without an object is in neither file, one without a mask in the first alone.
    """
    out, run = str(asked.out), str(asked.run_folder)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise not_empty(out)
    source = _source(asked, manifest)
    excluded = excluded_targets(asked, manifest)
    truths: list[ScoredAnnotation] = []
    predicted: list[ScoredAnnotation] = []
    without_object = 0
    for each in read_trajectories(storage_for(run), run, manifest=manifest):
        target = each.target
        if excluded and key_of_ref(target.ref) in excluded:
            continue
        if target.truth.is_empty:
            without_object += 1
            continue
        own_id = target.ref.target_id
        truths.append(ScoredAnnotation(own_id, target.ref, target.truth, None))
        mask = each.last_mask
        if mask is not None and not mask.is_empty:
            predicted.append(ScoredAnnotation(own_id, target.ref, mask, _score(each)))
    if not predicted:
        raise OutputError(
            f"none of the {len(truths) + without_object} trajectories ends with a mask, so there "
            f"are no results; {out} was not written"
        )
    title = f"targets of {manifest.config['dataset']} ({manifest.config['split']})"
    instances, results = coco_results(truths, predicted, description=title, source=source)
    try:
        with atomic_folder(out) as folder:
            for name, data in ((INSTANCES, instances), (RESULTS, results)):
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(data)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error}; give a folder that can be written to, with enough room"
        ) from error
    return {
        "written": out,
        "targets": len(truths),
        "results": len(predicted),
        **({"without an object": without_object} if without_object else {}),
    }


def _source(asked: ExportOptions, manifest: Manifest) -> CocoSource | None:
    """Return the instances file that the targets come from; None for other data sets."""
    # The targets of an evaluation are expressions, of which an annotation may have several.
    if manifest.config["dataset"] != "coco" or manifest.config["expressions"] is not None:
        return None
    reader = open_source(manifest, data_root=asked.data_root)
    if not isinstance(reader, CocoReader):
        return None
    return read_coco_source(reader.storage, posixpath.join(reader.root, reader.annotations))


def _score(trajectory: Trajectory) -> float:
    """Return the estimate of the last mask's IoU that needs no ground truth; 1 without any."""
    if trajectory.last_predicted_iou is not None:
        return trajectory.last_predicted_iou
    score = trajectory.steps[-1].score if trajectory.steps else None
    return 1.0 if score is None else score
