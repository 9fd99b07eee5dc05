"""The flags of the commands that read results: stats, rejects, inspect and compare."""

from __future__ import annotations

import argparse

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting


@options
class StatsOptions:
    """What `hlmat stats` reads."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    verify: bool = setting(default=False, help="check every file against the manifest first")
    parts: bool = setting(
        default=False, help="with --json: also statistics of each data set and split"
    )
    report: str | None = setting(
        default=None, metavar="FILE", help="write figures and charts of each part (.html)"
    )


@options
class RejectsOptions:
    """What `hlmat rejects` lists."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    all: bool = setting(default=False, help="list every reject, not only the first of each reason")


@options
class InspectOptions:
    """What `hlmat inspect` shows."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    target: str | None = setting(default=None, metavar="ID", help="target id (the first)")
    index: int | None = setting(default=None, ge=0, help="position in the run, from 0")
    strip: str | None = setting(
        default=None, metavar="FILE", help="write the image strip (.png or .jpg)"
    )
    data_root: str | None = setting(default=None, metavar="DIR", help="where the data set is now")


@options
class CompareOptions:
    """What `hlmat compare` reads and writes."""

    evaluations: tuple[str, ...] = setting(
        metavar="NAME=OUT", help="finished evaluations or other runs, with a name for each"
    )
    chart: str | None = setting(
        default=None, metavar="FILE", help="write a chart of IoU by step (.png)"
    )
    learning_curve: str | None = setting(
        default=None,
        metavar="FILE",
        help="write a chart of gIoU by the names, here numbers of training targets (.png)",
    )


def _out(owner: type) -> Flag:
    return Flag("OUT", owner, "run_folder", dest="run_folder", is_positional=True)


STATS = (
    Group(
        "run",
        (
            _out(StatsOptions),
            Flag("verify", StatsOptions),
            Flag("parts", StatsOptions),
            Flag("report", StatsOptions),
        ),
    ),
)
REJECTS = (Group("run", (_out(RejectsOptions), Flag("all", RejectsOptions))),)
INSPECT = (
    Group(
        "run",
        (
            _out(InspectOptions),
            Flag("target", InspectOptions),
            Flag("index", InspectOptions),
            Flag("strip", InspectOptions),
            Flag("data-root", InspectOptions),
        ),
    ),
)
COMPARE = (
    Group(
        "evaluations",
        (
            Flag("NAME=OUT", CompareOptions, "evaluations", dest="evaluations", is_positional=True),
            Flag("chart", CompareOptions),
            Flag("learning-curve", CompareOptions),
        ),
    ),
)


def stats_options(arguments: argparse.Namespace) -> StatsOptions:
    """Validate the arguments of `hlmat stats`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    options = Values(arguments, STATS, check).build(StatsOptions)
    if options.report is not None and not options.report.lower().endswith((".html", ".htm")):
        check.note(f"--report {options.report!r}: the name must end in .html")
    if options.parts and not getattr(arguments, "json", False):
        check.note("--parts belongs to --json; add it, or write a --report")
    check.done()
    return options


def rejects_options(arguments: argparse.Namespace) -> RejectsOptions:
    """Return the arguments of `hlmat rejects`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    options = Values(arguments, REJECTS, check).build(RejectsOptions)
    check.done()
    return options


def inspect_options(arguments: argparse.Namespace) -> InspectOptions:
    """Validate the arguments of `hlmat inspect`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, INSPECT, check)
    options = values.build(InspectOptions)
    if options.target is not None and options.index is not None:
        check.note("--target and --index exclude each other; give one of them")
    if options.strip and not options.strip.lower().endswith((".png", ".jpg", ".jpeg")):
        check.note(f"--strip {options.strip!r}: the name must end in .png or .jpg")
    check.done()
    return options
