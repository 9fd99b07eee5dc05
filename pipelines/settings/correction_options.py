"""The flags of the commands that make runs from runs: edit, split, merge, sample."""

from __future__ import annotations

import argparse
import re
from typing import Literal

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.settings.view_options import ViewOptions
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import url_problem

Stratifier = Literal["dataset", "split", "stop", "clicks", "iou", "area"]

APPLY = "apply"
_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
_SHARES_DIFFER = 1e-6


@options
class EditOptions:
    """What `hlmat edit` flags, and what it applies."""

    words: tuple[str, ...] = setting(
        metavar="OUT", help="a finished run; `apply OUT` writes the corrected run to --out"
    )
    flags: str | None = setting(
        default=None, metavar="FILE", help="the file of flags, by default OUT-flags.csv"
    )
    read: str | None = setting(
        default=None, metavar="FILE", help="add the flags of a CSV file and open no page"
    )
    out: str | None = setting(default=None, metavar="DIR", help="apply: the new run's folder")
    overwrite: bool = setting(default=False, help="apply: remove an earlier run in --out first")


@options
class DrawOptions:
    """What `hlmat sample` draws."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    out: str = setting(metavar="DIR", help="the new run's folder")
    count: int | None = setting(default=None, ge=1, metavar="N", help="how many to draw")
    share: float | None = setting(
        default=None,
        gt=0,
        le=1,
        metavar="X",
        help="the share to draw, instead of --count",
    )
    by: Literal["image", "target"] = setting(
        default="image", metavar="NAME", help="draw images with all their targets, or targets"
    )
    stratify: tuple[Stratifier, ...] = setting(
        default=(),
        metavar="NAMES",
        help="keep the proportions of these values, several with commas: dataset, split, stop, "
        "clicks, iou (tenths), area (small, medium, large as in COCO)",
    )
    seed: int = setting(default=0, ge=0, metavar="N", help="another seed draws others")
    overwrite: bool = setting(default=False, help="remove an earlier run in --out first")


@options
class PartitionOptions:
    """How `hlmat split` divides a run."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run")
    out: str = setting(metavar="DIR", help="receives a folder for each part")
    parts: str = setting(
        default="train=0.8,val=0.1,test=0.1",
        metavar="PARTS",
        help="names of the parts and their shares of the images",
    )
    stratify: tuple[Stratifier, ...] = setting(
        default=(), metavar="NAMES", help="as for `hlmat sample`"
    )
    seed: int = setting(default=0, ge=0, metavar="N", help="another seed divides otherwise")
    overwrite: bool = setting(default=False, help="remove earlier runs in the parts' folders first")


@options
class MergingOptions:
    """What `hlmat merge` joins."""

    run_folders: tuple[str, ...] = setting(
        metavar="OUT", help="finished runs, made with the same settings over parts of a data set"
    )
    out: str = setting(metavar="DIR", help="the new run's folder")
    keep_first: bool = setting(
        default=False, help="take a target that several runs have from the first of them"
    )
    overwrite: bool = setting(default=False, help="remove an earlier run in --out first")


def _out(owner: type, field: str = "run_folder") -> Flag:
    return Flag("OUT", owner, field, dest=field, is_positional=True)


EDIT = (
    Group(
        "flags and their effect",
        (
            _out(EditOptions, "words"),
            Flag("flags", EditOptions),
            Flag("read", EditOptions),
            Flag("out", EditOptions),
            Flag("overwrite", EditOptions),
        ),
    ),
    Group(
        "page",
        (
            Flag("data-root", ViewOptions),
            Flag("page-max-side", ViewOptions, "max_side"),
            Flag("port", ViewOptions),
            Flag("browser", ViewOptions),
        ),
    ),
)
SAMPLE = (
    Group(
        "sample",
        (
            _out(DrawOptions),
            Flag("out", DrawOptions),
            Flag("count", DrawOptions),
            Flag("share", DrawOptions),
            Flag("by", DrawOptions),
            Flag("stratify", DrawOptions, is_joined=True),
            Flag("seed", DrawOptions),
            Flag("overwrite", DrawOptions),
        ),
    ),
)
SPLIT = (
    Group(
        "split",
        (
            _out(PartitionOptions),
            Flag("out", PartitionOptions),
            Flag("parts", PartitionOptions),
            Flag("stratify", PartitionOptions, is_joined=True),
            Flag("seed", PartitionOptions),
            Flag("overwrite", PartitionOptions),
        ),
    ),
)
MERGE = (
    Group(
        "merge",
        (
            _out(MergingOptions, "run_folders"),
            Flag("out", MergingOptions),
            Flag("keep-first", MergingOptions),
            Flag("overwrite", MergingOptions),
        ),
    ),
)


def edit_options(arguments: argparse.Namespace) -> tuple[EditOptions, ViewOptions, bool]:
    """Validate the arguments of `hlmat edit`.

    Returns:
        The options; the page's, which name the run; whether flags are to be applied.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, EDIT, check)
    values.read_given()
    asked = values.build(EditOptions)
    is_applied = asked.words[0] == APPLY
    folders = asked.words[1:] if is_applied else asked.words
    if len(folders) != 1:
        check.note(
            f"hlmat edit {' '.join(asked.words)}: expected one run; write `hlmat edit OUT` or "
            "`hlmat edit apply OUT --out NEW` (for a folder named apply, ./apply)"
        )
    if is_applied and asked.out is None:
        check.note("--out is missing: name the folder of the corrected run")
    if is_applied and asked.read is not None:
        check.note(f"--read {asked.read}: apply reads --flags; give the file there")
    for name in ("out", "overwrite"):
        if not is_applied and values.is_given(name):
            check.note(f"--{name} belongs to `hlmat edit apply OUT`; leave it out, or add apply")
    for name in ("data-root", "page-max-side", "port", "browser"):
        if values.is_given(name) and (is_applied or asked.read is not None):
            check.note(f"--{name} belongs to the page, which is not opened here; leave it out")
    for path in (*folders, asked.flags, asked.read, asked.out):
        check.maybe(url_problem(path))
    page = values.build(ViewOptions, run_folder=folders[0] if folders else "")
    check.done()
    return asked, page, is_applied


def draw_options(arguments: argparse.Namespace) -> DrawOptions:
    """Validate the arguments of `hlmat sample`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, SAMPLE, check)
    values.read_given()
    _need(values, check, "out", "name the folder of the sample")
    if values.is_given("count") == values.is_given("share"):
        check.note("give either --count or --share")
    asked = values.build(DrawOptions)
    for path in (asked.run_folder, asked.out):
        check.maybe(url_problem(path))
    check.done()
    return asked


def partition_options(
    arguments: argparse.Namespace,
) -> tuple[PartitionOptions, dict[str, float]]:
    """Validate the arguments of `hlmat split`; also return the shares by name.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, SPLIT, check)
    values.read_given()
    _need(values, check, "out", "name the folder that receives the parts")
    asked = values.build(PartitionOptions)
    for path in (asked.run_folder, asked.out):
        check.maybe(url_problem(path))
    shares = _shares(asked.parts, check)
    check.done()
    return asked, shares


def merging_options(arguments: argparse.Namespace) -> MergingOptions:
    """Validate the arguments of `hlmat merge`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, MERGE, check)
    values.read_given()
    _need(values, check, "out", "name the folder of the merged run")
    asked = values.build(MergingOptions)
    if len(asked.run_folders) < 2:
        check.note(
            f"{', '.join(asked.run_folders)} alone: there is nothing to merge; name another run"
        )
    for out in dict.fromkeys(asked.run_folders):
        if asked.run_folders.count(out) > 1:
            check.note(f"{out} is named twice; give different runs")
    for path in (*asked.run_folders, asked.out):
        check.maybe(url_problem(path))
    check.done()
    return asked


def _need(values: Values, check: Check, name: str, what: str) -> None:
    if not values.is_given(name):
        check.note(f"--{name} is missing: {what}")
        check.done()


def _shares(text: str, check: Check) -> dict[str, float]:
    """Parse names and shares, such as ``train=0.9,test=0.1``."""
    shares: dict[str, float] = {}
    problems = len(check.problems)
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not _PART.fullmatch(name) or not 0 < share <= 1:
            check.note(
                f"--parts {part!r}: expected NAME=SHARE with a share above 0 and up to 1, as "
                "train=0.8; a name has letters, digits, dots, dashes and underscores"
            )
        elif name in shares:
            check.note(f"--parts: {name} is named twice; give each part a name of its own")
        else:
            shares[name] = share
    total = sum(shares.values())
    if len(check.problems) == problems and abs(total - 1) > _SHARES_DIFFER:
        check.note(f"--parts {text}: the shares add up to {total:g}, expected 1")
    return shares
