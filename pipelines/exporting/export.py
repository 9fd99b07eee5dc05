"""The job `hlmat export`: from a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from hlmat.export.formats.trace import write_trace
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import run_differences, with_other_runs
from hlmat.export.llama_factory.samples import cases_of
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.export.llama_factory.writer import export_task
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.run.leak_guard import EXPORT_RECORD, export_record, known_images
from hlmat.pipelines.settings.export_options import (
    ExportOptions,
    export_options,
    llama_factory_options,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.errors import ConfigError, DataError, OutputError, TargetError
from hlmat.transforms.core.records import Target, Trajectory
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice, shuffled_expressions


def export_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Export a run and return what was written.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or an image that cannot be read.
        OutputError: the output cannot be written.
    """
    check = Check()
    asked = export_options(arguments, check)
    options = llama_factory_options(arguments, check)
    check.done()
    manifest = read_run_manifest(str(asked.run_folder))
    return FORMATS[str(asked.format)](asked, manifest, options)


def _export_trace(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions
) -> dict[str, Any]:
    if os.path.isdir(str(asked.out)):
        raise OutputError(f"{asked.out} is a folder; --format trace writes a file: name one")
    if os.path.lexists(str(asked.out)):
        raise OutputError(f"{asked.out} exists already; give another --out or remove it")
    out = str(asked.run_folder)
    trajectories = read_trajectories(storage_for(out), out, manifest=manifest)
    records = write_trace(trajectories, str(asked.out), info=manifest.config)
    return {"written": asked.out, "records": records}


def _export_llama_factory(
    asked: ExportOptions, manifest: Manifest, options: LlamaFactoryOptions
) -> dict[str, Any]:
    out = str(asked.run_folder)
    others = _open_others(asked, manifest)
    reader = open_source(manifest, data_root=asked.data_root)
    trajectories = read_trajectories(storage_for(out), out, manifest=manifest)
    if asked.expressions == ExpressionChoice.SHUFFLED:
        trajectories = _with_shuffled_expressions(list(trajectories), seed=manifest.config["seed"])
    targets: list[Target] = []

    def noted(trajectory: Trajectory) -> Trajectory:
        targets.append(trajectory.target)
        return trajectory

    def record() -> bytes:
        images = known_images(targets, shapes=manifest.config["shapes"])
        return _with_others(
            export_record(manifest, images=images, frame=options.frame.record()), others
        )

    cases = cases_of(map(noted, trajectories))
    if others:
        runs = [(storage_for(name), name, each) for name, each in others.items()]
        cases = with_other_runs(cases, runs, first=out)
    try:
        counts = export_task(
            training_task(asked.task),
            cases,
            reader.load_image,
            str(asked.out),
            options=options,
            records={EXPORT_RECORD: record},
        )
    except TargetError as error:
        raise DataError(
            f"an image of the run cannot be read: {error}; say with --data-root where the data "
            "set is now"
        ) from error
    return {
        "written": asked.out,
        "data set": options.name,
        "samples": counts.samples,
        **({"of which": dict(counts.kinds)} if counts.kinds else {}),
        "images": counts.images,
        "targets": counts.targets,
        "without samples": counts.targets_without_samples,
    }


def _open_others(asked: ExportOptions, manifest: Manifest) -> dict[str, Manifest]:
    """Return the manifests of the runs to compare with the first, by folder."""
    others = {out: read_run_manifest(out) for out in asked.also}
    problems = [
        f"--also {out}: {difference}"
        for out, other in others.items()
        for difference in run_differences(manifest.config, other.config)
    ]
    if problems:
        raise ConfigError(problems)
    return others


def _with_others(record: bytes, others: dict[str, Manifest]) -> bytes:
    """Return an export's record, with the configurations of all its runs."""
    if not others:
        return record
    content = json.loads(record) | {"also": [manifest.config for manifest in others.values()]}
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


FORMATS: dict[str, Callable[[ExportOptions, Manifest, LlamaFactoryOptions], dict[str, Any]]] = {
    "trace": _export_trace,
    "llama-factory": _export_llama_factory,
}


def _with_shuffled_expressions(
    trajectories: Sequence[Trajectory], *, seed: int
) -> Iterator[Trajectory]:
    refs = [t.target.ref for t in trajectories]
    for trajectory, texts in zip(trajectories, shuffled_expressions(refs, seed=seed), strict=True):
        ref = replace(trajectory.target.ref, expressions=texts)
        yield replace(trajectory, target=replace(trajectory.target, ref=ref))
