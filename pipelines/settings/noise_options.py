"""The flags of `hlmat noise`."""

from __future__ import annotations

import argparse
from typing import Literal

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import url_problem

NoiseKind = Literal[
    "hole", "island", "sliver", "shared", "swapped", "duplicate", "chased", "unreachable"
]
FLAGGED_KINDS: tuple[NoiseKind, ...] = (
    "hole",
    "island",
    "sliver",
    "shared",
    "swapped",
    "duplicate",
)


@options
class NoiseOptions:
    """What `hlmat noise` judges, and what it writes."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    report: str | None = setting(
        default=None, metavar="FILE", help="write a report with pictures (.html)"
    )
    flags: str | None = setting(
        default=None,
        metavar="FILE",
        help="write flags that drop the targets with findings of --kinds (.csv), for "
        "`hlmat edit apply --flags` and `hlmat export --exclude`",
    )
    kinds: tuple[NoiseKind, ...] = setting(
        default=FLAGGED_KINDS,
        metavar="NAMES",
        help=f"what --flags drops, with commas ({','.join(FLAGGED_KINDS)}); also chased and "
        "unreachable",
    )
    top: int = setting(default=48, ge=1, metavar="N", help="how many targets the report shows")
    images: bool = setting(
        default=True, help="read the images, for duplicates, colours and pictures"
    )
    data_root: str | None = setting(default=None, metavar="DIR", help="where the data set is now")


NOISE = (
    Group(
        "noise",
        (
            Flag("OUT", NoiseOptions, "run_folder", dest="run_folder", is_positional=True),
            Flag("report", NoiseOptions),
            Flag("flags", NoiseOptions),
            Flag("kinds", NoiseOptions, is_joined=True),
            Flag("top", NoiseOptions),
            Flag("images", NoiseOptions),
            Flag("data-root", NoiseOptions),
        ),
    ),
)


def noise_options(arguments: argparse.Namespace) -> NoiseOptions:
    """Validate the arguments of `hlmat noise`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, NOISE, check)
    values.read_given()
    asked = values.build(NoiseOptions)
    if asked.report is not None and not asked.report.lower().endswith((".html", ".htm")):
        check.note(f"--report {asked.report!r}: the name must end in .html")
    if asked.flags is not None and not asked.flags.lower().endswith(".csv"):
        check.note(f"--flags {asked.flags!r}: the name must end in .csv")
    if values.is_given("kinds") and asked.flags is None:
        check.note("--kinds says what --flags drops; add --flags or leave it out")
    for path in (asked.run_folder, asked.report, asked.flags, asked.data_root):
        check.maybe(url_problem(path))
    check.done()
    return asked
