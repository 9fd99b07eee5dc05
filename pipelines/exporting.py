"""The job `hlmat export`: a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from export.llama_factory import LlamaFactoryOptions, export_next_click
from export.manifest import Manifest
from export.trace import write_trace
from export.trajectories import read_trajectories
from pipelines.checks import Check
from pipelines.conversation import add_conversation_arguments, read_conversation
from pipelines.finished_run import open_manifest, open_source
from pipelines.leak_guard import EXPORT_RECORD, export_record, image_keys
from transforms.errors import DataError, OutputError, TargetError
from transforms.expression_choice import ExpressionChoice, shuffled_expressions
from transforms.records import TargetRef, Trajectory
from transforms.steps.beam_storage import storage_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat export`."""
    parser.add_argument("--from", dest="run_folder", metavar="OUT", help="a finished run's folder")
    parser.add_argument("--format", metavar="F", help=f"one of: {', '.join(FORMATS)}")
    parser.add_argument("--out", metavar="PATH", help="file (trace) or folder (llama-factory)")
    parser.add_argument("--data-root", metavar="DIR", help="where the data set lies now")
    add_conversation_arguments(parser)
    sft = parser.add_argument_group("llama-factory")
    sft.add_argument(
        "--expressions",
        metavar="E",
        default="each",
        help="each or first of a target's, or shuffled: another target's, as a control (each)",
    )
    sft.add_argument("--first-box", action="store_true", help="teach the box of the object as well")
    sft.add_argument("--image-format", metavar="F", default="jpg", help="jpg or png (jpg)")
    sft.add_argument("--name", metavar="N", default="next_click", help="of the data set")


def export_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Export a run and return what was written.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or a picture that cannot be read.
        OutputError: the output cannot be written.
    """
    check = Check()
    if not arguments.run_folder:
        check.note("--from is missing: name the output folder of a finished run")
    if not arguments.out:
        check.note("--out is missing: name the file or folder to write")
    elif "://" in arguments.out:
        check.note(f"--out {arguments.out}: exports go to the local disk; give a local path")
    if not arguments.format:
        check.note(f"--format is missing; choose from {', '.join(FORMATS)}")
    else:
        check.choice("--format", arguments.format, list(FORMATS))
    options = llama_factory_options(arguments, check)
    check.done()
    manifest = open_manifest(arguments.run_folder)
    return FORMATS[arguments.format](arguments, manifest, options)


def _export_trace(
    arguments: argparse.Namespace, manifest: Manifest, options: LlamaFactoryOptions
) -> dict[str, Any]:
    if os.path.isdir(arguments.out):
        raise OutputError(f"{arguments.out} is a folder; --format trace writes a file: name one")
    out = arguments.run_folder
    trajectories = read_trajectories(storage_for(out), out, manifest=manifest)
    records = write_trace(trajectories, arguments.out, info=manifest.config)
    return {"written": arguments.out, "records": records}


def _export_llama_factory(
    arguments: argparse.Namespace, manifest: Manifest, options: LlamaFactoryOptions
) -> dict[str, Any]:
    out = arguments.run_folder
    reader = open_source(manifest, data_root=arguments.data_root)
    trajectories = read_trajectories(storage_for(out), out, manifest=manifest)
    if arguments.expressions == ExpressionChoice.SHUFFLED:
        trajectories = _with_shuffled_expressions(list(trajectories), seed=manifest.config["seed"])
    refs: list[TargetRef] = []

    def noted(trajectory: Trajectory) -> Trajectory:
        refs.append(trajectory.target.ref)
        return trajectory

    def record() -> bytes:
        return export_record(manifest, images=image_keys(refs, shapes=manifest.config["shapes"]))

    try:
        counts = export_next_click(
            map(noted, trajectories),
            reader.load_image,
            arguments.out,
            options,
            records={EXPORT_RECORD: record},
        )
    except TargetError as error:
        raise DataError(
            f"a picture of the run cannot be read: {error}; say with --data-root where the data "
            "set lies now"
        ) from error
    return {
        "written": arguments.out,
        "data set": options.name,
        "samples": counts.samples,
        "pictures": counts.pictures,
        "targets": counts.targets,
        "without samples": counts.targets_without_samples,
    }


FORMATS: dict[
    str, Callable[[argparse.Namespace, Manifest, LlamaFactoryOptions], dict[str, Any]]
] = {"trace": _export_trace, "llama-factory": _export_llama_factory}


def llama_factory_options(arguments: argparse.Namespace, check: Check) -> LlamaFactoryOptions:
    check.choice("--expressions", arguments.expressions, list(ExpressionChoice))
    conversation = read_conversation(arguments, check)
    options = check.built(
        lambda: LlamaFactoryOptions(
            dialogue=conversation.dialogue,
            view=conversation.view,
            box_prompt=conversation.box_prompt if arguments.first_box else None,
            expressions="first" if arguments.expressions == ExpressionChoice.FIRST else "each",
            image_format=cast("Any", arguments.image_format),
            name=arguments.name,
        )
    )
    return options or LlamaFactoryOptions()


def _with_shuffled_expressions(
    trajectories: Sequence[Trajectory], *, seed: int
) -> Iterator[Trajectory]:
    refs = [t.target.ref for t in trajectories]
    for trajectory, texts in zip(trajectories, shuffled_expressions(refs, seed=seed), strict=True):
        ref = replace(trajectory.target.ref, expressions=texts)
        yield replace(trajectory, target=replace(trajectory.target, ref=ref))
