"""The job `hlmat export`: a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, cast

from export.llama_factory import LlamaFactoryOptions, export_next_click
from export.manifest import Manifest
from export.trace import write_trace
from export.trajectories import read_trajectories
from pipelines.checks import Check
from pipelines.finished_run import open_manifest, open_source
from transforms.coordinates import CODECS, SmartResize, make_codec, same_size
from transforms.dialogue import Dialogue
from transforms.errors import DataError, OutputError, TargetError
from transforms.overlay import COLOURS
from transforms.prompts import load_prompt, next_click_prompt
from transforms.steps.beam_storage import storage_for

PROCESSORS = {
    "none": same_size,
    "qwen2-vl": SmartResize(factor=28),
    "qwen3-vl": SmartResize(factor=32),
}
"""What the model's processor does to a picture, for the codec "pixels"."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat export`."""
    parser.add_argument("--from", dest="run_folder", metavar="OUT", help="a finished run's folder")
    parser.add_argument("--format", metavar="F", help=f"one of: {', '.join(FORMATS)}")
    parser.add_argument("--out", metavar="PATH", help="file (trace) or folder (llama-factory)")
    parser.add_argument("--data-root", metavar="DIR", help="where the data set lies now")
    sft = parser.add_argument_group("llama-factory")
    sft.add_argument(
        "--codec", metavar="C", default="decimal", help=f"{', '.join(CODECS)} (decimal)"
    )
    sft.add_argument("--order", metavar="O", default="xy", help="xy or row_column (xy)")
    sft.add_argument(
        "--processor",
        metavar="P",
        default="none",
        help=f"codec pixels: the resize of the model's processor: {', '.join(PROCESSORS)} (none)",
    )
    sft.add_argument(
        "--mask-colour", metavar="C", default="green", help=f"{', '.join(COLOURS)} (green)"
    )
    sft.add_argument("--opacity", metavar="X", default="0.5", help="of the mask (0.5)")
    sft.add_argument("--prompt", metavar="FILE", help="a template of your own, see docs/formats.md")
    sft.add_argument("--max-side", metavar="PX", help="reduce larger pictures to this side")
    sft.add_argument(
        "--expressions", metavar="E", default="each", help="each or first of a target's (each)"
    )
    sft.add_argument("--finish", action="store_true", help="teach the answer Finish as well")
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
    options = _llama_factory_options(arguments, check)
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
    try:
        counts = export_next_click(trajectories, reader.load_image, arguments.out, options)
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


def _llama_factory_options(arguments: argparse.Namespace, check: Check) -> LlamaFactoryOptions:
    check.choice("--processor", arguments.processor, list(PROCESSORS))
    codec = check.built(
        lambda: make_codec(
            arguments.codec,
            order=arguments.order,
            resize=PROCESSORS.get(arguments.processor, same_size),
        )
    )
    prompt = check.built(
        lambda: load_prompt(arguments.prompt) if arguments.prompt else next_click_prompt()
    )
    opacity = check.fraction("--opacity", arguments.opacity)
    max_side = check.integer("--max-side", arguments.max_side, at_least=1)
    options = check.built(
        lambda: LlamaFactoryOptions(
            dialogue=Dialogue(
                codec or make_codec("decimal"),
                prompt=prompt or next_click_prompt(),
                colour=arguments.mask_colour,
                with_finish=arguments.finish,
            ),
            opacity=0.5 if opacity is None else opacity,
            max_side=max_side,
            expressions=cast("Any", arguments.expressions),
            image_format=cast("Any", arguments.image_format),
            name=arguments.name,
        )
    )
    return options or LlamaFactoryOptions()
