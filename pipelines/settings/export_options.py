"""The command line of `hlmat export` to validated options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from hlmat.export.hub.declared_license import read_declared_license
from hlmat.export.llama_factory.sample_options import SampleOptions
from hlmat.export.llama_factory.tasks.registry import (
    DEFAULT_TASK,
    TASKS,
    data_set_name,
    training_task,
)
from hlmat.pipelines.settings.export_formats import ExportFormat, ImageChoice, flag_problems
from hlmat.pipelines.settings.flags import Flag, Group, flags_in, spellings_in
from hlmat.pipelines.settings.prompt_options import CONVERSATION, read_conversation, read_prompt
from hlmat.pipelines.settings.runner_choice import (
    COMMON_FLAGS,
    MAX_WORKERS_BY_DEFAULT,
    RunnerChoice,
    check_runner_flags,
    check_runner_name,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values, fingerprint_of_flags
from hlmat.transforms.core.options import declared, options, setting
from hlmat.transforms.core.records import Box
from hlmat.transforms.core.threads import available_cores
from hlmat.transforms.core.url_storage import url_problem
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.prompting.dialogues.registry import load_dialogue
from hlmat.transforms.prompting.templates import load_prompt, score_prompt

if TYPE_CHECKING:
    from hlmat.export.llama_factory.options import LlamaFactoryOptions

TARGETS_WORTH_WORKERS = 20_000
"""Below this, starting worker processes takes longer than they save; see BENCHMARKS.md."""

_OWN_NAMES = ("dataset_info", "export")


@options
class ExportOptions:
    """What is exported, and where to."""

    run_folder: str | None = setting(
        default=None, metavar="OUT", in_fingerprint=False, help="a finished run's folder"
    )
    format: ExportFormat | None = setting(
        default=None, metavar="F", in_fingerprint=False, help="what to write"
    )
    out: str | None = setting(
        default=None,
        metavar="PATH",
        in_fingerprint=False,
        help="file (trace) or folder (the others)",
    )
    data_root: str | None = setting(
        default=None, metavar="DIR", in_fingerprint=False, help="folder of the data set now"
    )
    task: str = setting(
        default=DEFAULT_TASK,
        metavar="T",
        help=f"what is to be learnt, several with commas: {', '.join(TASKS)}",
    )
    exclude: str | None = setting(
        default=None,
        metavar="FILE",
        in_fingerprint=False,
        help="leave out the targets that a CSV file flags with drop, as of hlmat edit or noise",
    )
    min_iou: float | None = setting(
        default=None,
        gt=0,
        le=1,
        metavar="X",
        in_fingerprint=False,
        help="leave out targets whose last mask has a lower IoU, as of a model's bad rollouts",
    )
    also: tuple[str, ...] = setting(
        default=(),
        metavar="OUT",
        in_fingerprint=False,
        help="another finished run: over the same targets (preference, star-plus), or another "
        "split (hub); repeatable",
    )
    score_prompt: str | None = setting(
        default=None, metavar="FILE", help="prm, filter, star-plus: the question for the IoU alone"
    )
    expressions: ExpressionChoice = setting(
        default=ExpressionChoice.EACH,
        metavar="E",
        help="each or first of a target's, or shuffled: another target's, as a control",
    )
    first_box: bool = setting(default=False, help="also teach the box of the object")
    images: ImageChoice = setting(
        default="auto",
        metavar="I",
        in_fingerprint=False,
        help="hub: images to include: those with a license that permits it (auto), your own too "
        "(all, with --license), none",
    )
    license: str | None = setting(
        default=None,
        metavar="L",
        in_fingerprint=False,
        help="hub: license of your own data: the Hub's name, such as cc-by-4.0, or a text file",
    )
    date: str | None = setting(
        default=None,
        metavar="DAY",
        in_fingerprint=False,
        help="hub: day of publication, such as 2026-11-27",
    )


@options
class ExportRunning:
    """How an export runs."""

    overwrite: bool = setting(
        default=False, in_fingerprint=False, help="remove an earlier export in --out first"
    )
    unit_size: int = setting(
        default=256,
        ge=1,
        in_fingerprint=False,
        help="targets per unit, at least; an export resumes by unit",
    )
    max_reject_rate: float = setting(
        default=0.5,
        ge=0,
        le=1,
        metavar="R",
        in_fingerprint=False,
        help="fail if more than this share of targets cannot be exported",
    )


@dataclass(frozen=True)
class Running:
    """Where and how an export's units are done.

    Attributes:
        runner: the runner; its workers are ignored if `workers_by_default`.
        workers_by_default: no number of workers is given.
        fingerprint: the flags that can change a byte of the data set.
        given: names of the flags that are given.
        quiet: shows no progress.
    """

    runner: RunnerChoice
    workers_by_default: bool
    given: frozenset[str]
    fingerprint: Mapping[str, Any]
    overwrite: bool
    unit_size: int
    max_reject_rate: float
    quiet: bool

    def runner_for(self, targets: int) -> RunnerChoice:
        """Return the runner with a number of workers that is worth their start."""
        if not self.workers_by_default:
            return self.runner
        is_large = targets >= TARGETS_WORTH_WORKERS
        workers = min(available_cores(), MAX_WORKERS_BY_DEFAULT) if is_large else 1
        return replace(self.runner, workers=workers)


EXPORT = (
    Group(
        "run and output",
        (
            Flag("from", ExportOptions, "run_folder", dest="run_folder"),
            Flag("format", ExportOptions),
            Flag("out", ExportOptions),
            Flag("data-root", ExportOptions),
            Flag("exclude", ExportOptions),
            Flag("min-iou", ExportOptions),
        ),
    ),
    CONVERSATION,
    Group(
        "what is written",
        (
            Flag("task", ExportOptions),
            Flag("also", ExportOptions),
            Flag("min-margin", SampleOptions, default_text="any"),
            Flag("candidates", SampleOptions),
            Flag("foreign-masks", SampleOptions, is_joined=True),
            Flag("foreign-count", SampleOptions),
            Flag("score-prompt", ExportOptions),
            Flag("expressions", ExportOptions),
            Flag("first-box", ExportOptions),
            Flag("image-format", SampleOptions),
            Flag("images", ExportOptions),
            Flag("license", ExportOptions),
            Flag("date", ExportOptions, default_text="today"),
            Flag("name", SampleOptions, default=None, default_text="the task's"),
        ),
    ),
    Group(
        "running (not trace)",
        (
            Flag("overwrite", ExportRunning),
            Flag("unit-size", ExportRunning),
            Flag("max-reject-rate", ExportRunning),
            Flag(
                "workers",
                RunnerChoice,
                default=None,
                default_text=f"one per core from {TARGETS_WORTH_WORKERS:,} targets, else 1",
            ),
            Flag("runner", RunnerChoice, "name"),
            Flag(
                "worker-timeout",
                RunnerChoice,
                "worker_timeout_s",
                default_text="120; no limit on DataflowRunner",
            ),
        ),
    ),
)


def export_options(arguments: argparse.Namespace, check: Check) -> ExportOptions:
    """Return what is exported and where to; problems are added to `check`."""
    values = Values(arguments, EXPORT, check)
    asked = values.build(ExportOptions)
    if not asked.run_folder:
        check.note("--from is missing: name the output folder of a finished run")
    if not asked.out:
        check.note("--out is missing: name the file or folder to write")
    elif "://" in asked.out and asked.format in ("trace", "coco-results"):
        check.note(
            f"--out {asked.out}: --format {asked.format} writes to the local disk; give a local "
            "path"
        )
    if asked.license is not None and asked.format == "hub":
        license = asked.license
        if url_problem(license) is None:
            check.built(lambda: read_declared_license(license))
    paths = (asked.run_folder, asked.out, asked.data_root, asked.exclude, asked.license)
    for path in (*paths, *asked.also):
        check.maybe(url_problem(path))
    if asked.format is None and getattr(arguments, "format", None) is None:
        known = declared(ExportOptions)["format"].choices
        check.note(f"--format is missing; choose from {', '.join(known)}")
    given = frozenset(name for name in flags_in(EXPORT) if values.is_given(name))
    check.note_all(list(flag_problems(given, asked.format)))
    if asked.format == "ms-swift" and asked.expressions is ExpressionChoice.SHUFFLED:
        check.note("--expressions shuffled belongs to --format llama-factory; use each or first")
    if asked.date is not None and not _is_day(asked.date):
        check.note(f"--date {asked.date}: not a day; write year-month-day, such as 2026-11-27")
    return asked


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def llama_factory_options(arguments: argparse.Namespace, check: Check) -> LlamaFactoryOptions:
    """Return how samples are made.

    Raises:
        ConfigError: with all problems so far.
    """
    values = Values(arguments, EXPORT, check)
    values.read_given()
    asked = values.build(ExportOptions)
    _check_task(values, asked, check)
    question = read_prompt("--score-prompt", asked.score_prompt, check)
    samples = values.build(
        SampleOptions,
        name=export_name(arguments),
        expressions="first" if asked.expressions is ExpressionChoice.FIRST else "each",
    )
    if samples.name in _OWN_NAMES:
        check.note(f"--name {samples.name}: the export has a file of this name; give another")
    conversation = read_conversation(values, check)
    dialogue = conversation.turn_format.dialogue
    if asked.first_box and Box not in dialogue.says:
        check.note(f"--first-box: the dialogue {dialogue.name} has no form for a box; leave it out")
    if "prm" in asked.task.split(",") and not dialogue.has_score:
        check.note(
            f"--task prm: the dialogue {dialogue.name} has no form for scores; use segagent or "
            "think"
        )
    check.done()
    from hlmat.export.llama_factory.options import LlamaFactoryOptions

    return LlamaFactoryOptions(
        **asdict(samples),
        turn_format=conversation.turn_format,
        view=conversation.view,
        box_prompt=conversation.box_prompt if asked.first_box else None,
        score_prompt=question or score_prompt(),
    )


def running_options(
    arguments: argparse.Namespace, rest: Sequence[str], check: Check, *, quiet: bool
) -> Running:
    """Return where and how the units are done; problems are added to `check`.

    Args:
        rest: arguments unknown to the parser: another runner's flags.
        quiet: show no progress.
    """
    values = Values(arguments, EXPORT, check)
    how = values.build(ExportRunning)
    workers = values.get("workers")
    runner = values.build(RunnerChoice, workers=workers or 1, flags=tuple(rest))
    check.maybe(check_runner_name(runner))
    own_flags = [*spellings_in(EXPORT), *COMMON_FLAGS]
    check.note_all(
        check_runner_flags(
            rest, is_local=runner.is_local, own_flags=own_flags, runner=runner.beam_name
        )
    )
    return Running(
        runner=runner,
        workers_by_default=workers is None,
        given=frozenset(name for name in flags_in(EXPORT) if values.is_given(name)),
        fingerprint=export_fingerprint(arguments),
        overwrite=how.overwrite,
        unit_size=how.unit_size,
        max_reject_rate=how.max_reject_rate,
        quiet=quiet,
    )


def export_name(arguments: argparse.Namespace) -> str:
    """Return the data set's name, by default the task's."""
    values = Values(arguments, EXPORT, Check())
    if values.has("name"):
        return values.get("name")
    if values.is_given("task"):
        return data_set_name(values.get("task"))
    return declared(SampleOptions)["name"].default


def export_fingerprint(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return everything that can change a data set's rows, with the texts of prompts."""
    found = fingerprint_of_flags(arguments, EXPORT) | {"name": export_name(arguments)}
    for name in ("prompt", "box-prompt", "score-prompt"):
        if found.get(name):
            found[name] = load_prompt(found[name]).text
    if found.get("dialogue"):
        found["dialogue"] = load_dialogue(found["dialogue"]).identity()
    return found


def _check_task(values: Values, asked: ExportOptions, check: Check) -> None:
    """Report an unknown task, flags of other tasks, and a missing run to compare with."""
    task = check.built(lambda: training_task(asked.task))
    if task is None:
        return
    owners: Mapping[str, list[str]] = {
        flag: [each.name for each in TASKS.values() if flag in each.options]
        for flag in sorted(frozenset().union(*(each.options for each in TASKS.values())))
    }
    for flag, names in owners.items():
        is_other = asked.format not in (None, "llama-factory")
        if is_other or not values.is_given(flag.removeprefix("--")):
            continue
        if flag not in task.options:
            check.note(
                f"{flag} belongs to the task {', '.join(names)}, not to {task.name}; leave it out"
            )
    if "--also" in task.options and not asked.also:
        check.note(
            f"--also is missing: the task {task.name} learns from several runs; name another "
            "finished run over the same targets"
        )
    for out in asked.also:
        if asked.also.count(out) > 1 or out == asked.run_folder:
            check.note(f"--also {out}: this run is named twice; give different runs")
