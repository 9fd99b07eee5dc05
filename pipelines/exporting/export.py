"""The job `hlmat export`: a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from hlmat.export.formats.trace import write_trace
from hlmat.export.llama_factory.options import FOREIGN_MASKS, MAX_CANDIDATES, LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import run_differences, with_other_runs
from hlmat.export.llama_factory.samples import cases_of
from hlmat.export.llama_factory.tasks.registry import (
    DEFAULT_TASK,
    TASKS,
    data_set_name,
    training_task,
)
from hlmat.export.llama_factory.writer import export_task
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.run.finished import open_manifest, open_source
from hlmat.pipelines.run.leak_guard import EXPORT_RECORD, export_record, image_keys
from hlmat.pipelines.settings.prompt_options import add_conversation_arguments, read_conversation
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.errors import ConfigError, DataError, OutputError, TargetError
from hlmat.transforms.core.records import TargetRef, Trajectory
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice, shuffled_expressions
from hlmat.transforms.prompting.templates import load_prompt, score_prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat export`."""
    parser.add_argument("--from", dest="run_folder", metavar="OUT", help="a finished run's folder")
    parser.add_argument("--format", metavar="F", help=f"one of: {', '.join(FORMATS)}")
    parser.add_argument("--out", metavar="PATH", help="file (trace) or folder (llama-factory)")
    parser.add_argument("--data-root", metavar="DIR", help="where the data set is now")
    add_conversation_arguments(parser)
    sft = parser.add_argument_group("llama-factory")
    sft.add_argument(
        "--task",
        metavar="T",
        default=DEFAULT_TASK,
        action=_TaskAction,
        help=f"what is to be learnt, several with commas: {', '.join(TASKS)} ({DEFAULT_TASK})",
    )
    sft.add_argument(
        "--also",
        metavar="OUT",
        action="append",
        help="preference, star-plus: another finished run over the same targets; repeatable",
    )
    sft.add_argument(
        "--min-margin",
        metavar="X",
        help="preference: IoU by which the chosen click must be better (any)",
    )
    sft.add_argument(
        "--candidates",
        metavar="N",
        help=f"filter: masks per target, 1 to {MAX_CANDIDATES} ({LlamaFactoryOptions.candidates})",
    )
    sft.add_argument(
        "--foreign-masks",
        metavar="M",
        help=f"refine: masks to be mended, with commas: {', '.join(FOREIGN_MASKS)} (all)",
    )
    sft.add_argument(
        "--score-prompt",
        metavar="FILE",
        help="prm, filter, star-plus: the question for the IoU alone",
    )
    sft.add_argument(
        "--expressions",
        metavar="E",
        default="each",
        help="each or first of a target's, or shuffled: another target's, as a control (each)",
    )
    sft.add_argument("--first-box", action="store_true", help="teach the box of the object as well")
    sft.add_argument("--image-format", metavar="F", default="jpg", help="jpg or png (jpg)")
    sft.add_argument(
        "--name", metavar="N", default=LlamaFactoryOptions.name, help="of the data set (the task's)"
    )


class _TaskAction(argparse.Action):
    """Takes down the task, and its name for the data set unless `--name` gives another."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.task = values
        if namespace.name == parser.get_default("name"):
            namespace.name = data_set_name(values)


def export_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Export a run and return what was written.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or an image that cannot be read.
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
    others = _open_others(arguments, manifest)
    reader = open_source(manifest, data_root=arguments.data_root)
    trajectories = read_trajectories(storage_for(out), out, manifest=manifest)
    if arguments.expressions == ExpressionChoice.SHUFFLED:
        trajectories = _with_shuffled_expressions(list(trajectories), seed=manifest.config["seed"])
    refs: list[TargetRef] = []

    def noted(trajectory: Trajectory) -> Trajectory:
        refs.append(trajectory.target.ref)
        return trajectory

    def record() -> bytes:
        images = image_keys(refs, shapes=manifest.config["shapes"])
        return _with_others(export_record(manifest, images=images), others)

    cases = cases_of(map(noted, trajectories))
    if others:
        runs = [(storage_for(name), name, each) for name, each in others.items()]
        cases = with_other_runs(cases, runs, first=out)
    try:
        counts = export_task(
            training_task(arguments.task),
            cases,
            reader.load_image,
            arguments.out,
            options=options,
            records={EXPORT_RECORD: record},
        )
    except TargetError as error:
        raise DataError(
            f"an image of the run cannot be read: {error}; say with --data-root where the data "
            "set is now"
        ) from error
    return {
        "written": arguments.out,
        "data set": options.name,
        "samples": counts.samples,
        **({"of which": dict(counts.kinds)} if counts.kinds else {}),
        "images": counts.images,
        "targets": counts.targets,
        "without samples": counts.targets_without_samples,
    }


def _open_others(arguments: argparse.Namespace, manifest: Manifest) -> dict[str, Manifest]:
    """Return the manifests of the runs that are compared with the first, by folder."""
    others = {out: open_manifest(out) for out in arguments.also or ()}
    problems = [
        f"--also {out}: {difference}"
        for out, other in others.items()
        for difference in run_differences(manifest.config, other.config)
    ]
    if problems:
        raise ConfigError(problems)
    return others


def _with_others(record: bytes, others: dict[str, Manifest]) -> bytes:
    """Return an export's record with the configurations of all runs that it was made from."""
    if not others:
        return record
    content = json.loads(record) | {"also": [manifest.config for manifest in others.values()]}
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


FORMATS: dict[
    str, Callable[[argparse.Namespace, Manifest, LlamaFactoryOptions], dict[str, Any]]
] = {"trace": _export_trace, "llama-factory": _export_llama_factory}


def llama_factory_options(arguments: argparse.Namespace, check: Check) -> LlamaFactoryOptions:
    check.choice("--expressions", arguments.expressions, list(ExpressionChoice))
    conversation = read_conversation(arguments, check)
    _check_task(arguments, check)
    question = check.built(
        lambda: load_prompt(arguments.score_prompt) if arguments.score_prompt else score_prompt()
    )
    candidates = check.integer("--candidates", arguments.candidates, at_least=1)
    margin = check.fraction("--min-margin", arguments.min_margin or "0")
    options = check.built(
        lambda: LlamaFactoryOptions(
            dialogue=conversation.dialogue,
            view=conversation.view,
            box_prompt=conversation.box_prompt if arguments.first_box else None,
            score_prompt=question or score_prompt(),
            candidates=candidates or LlamaFactoryOptions.candidates,
            foreign_masks=tuple(arguments.foreign_masks.split(","))
            if arguments.foreign_masks
            else FOREIGN_MASKS,
            min_margin=margin or 0.0,
            expressions="first" if arguments.expressions == ExpressionChoice.FIRST else "each",
            image_format=cast("Any", arguments.image_format),
            name=arguments.name,
        )
    )
    return options or LlamaFactoryOptions()


def _check_task(arguments: argparse.Namespace, check: Check) -> None:
    """Refuse an unknown task, flags that belong to another one, and a comparison with nothing."""
    task = check.built(lambda: training_task(arguments.task))
    if task is None:
        return
    for flag in sorted(frozenset().union(*(each.options for each in TASKS.values()))):
        given = getattr(arguments, flag.removeprefix("--").replace("-", "_"))
        if given and flag not in task.options:
            owners = ", ".join(each.name for each in TASKS.values() if flag in each.options)
            check.note(f"{flag} belongs to the task {owners}, not to {task.name}; leave it out")
    also = arguments.also or []
    if "--also" in task.options and not also:
        check.note(
            f"--also is missing: the task {task.name} learns from several runs; name another "
            "finished run over the same targets"
        )
    for out in also:
        if also.count(out) > 1 or (arguments.run_folder and out == arguments.run_folder):
            check.note(f"--also {out}: this run is named twice; give different runs")


def _with_shuffled_expressions(
    trajectories: Sequence[Trajectory], *, seed: int
) -> Iterator[Trajectory]:
    refs = [t.target.ref for t in trajectories]
    for trajectory, texts in zip(trajectories, shuffled_expressions(refs, seed=seed), strict=True):
        ref = replace(trajectory.target.ref, expressions=texts)
        yield replace(trajectory, target=replace(trajectory.target, ref=ref))
