"""The command line of `hlmat fit-clicks` to a validated configuration."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.run_flags import DATA, SEED, SelectionOptions
from hlmat.pipelines.settings.run_options import shapes_options
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import storage_for, url_problem
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import (
    DATASETS,
    check_dataset_name,
    check_split,
    missing_root,
)

RCLICKS = "rclicks"
RCLICKS_DATASETS = ("grabcut", "berkeley", "davis", "coco_mval", "folder")


@options
class FitClicksOptions:
    """What `hlmat fit-clicks` reads and writes."""

    log: str = setting(metavar="LOG", help="the clicks, a CSV file")
    log_format: Literal["csv", "rclicks"] = setting(
        default="csv", help="csv as docs/human_clicks.md describes it, or clicks.csv of RClicks"
    )
    masks: str | None = setting(
        default=None, metavar="DIR", help="folder of the masks that the log names (the log's)"
    )
    out: str = setting(default="", metavar="FILE", help="the click model to write, a JSON file")
    held_out: float = setting(
        default=0.2, gt=0, lt=1, metavar="X", help="share of the images to judge the fit with"
    )
    max_reject_rate: float = setting(
        default=0.5, ge=0, le=1, metavar="R", help="fail if more than this share is rejected"
    )


@dataclass(frozen=True)
class FitClicksConfig:
    """Everything that `hlmat fit-clicks` needs to know.

    Attributes:
        files: the log, its masks and the model.
        dataset: the data set of the log's targets; "" where the log names masks.
        reader: opens the data set.
        seed: of the split, and of all else that is random.
    """

    files: FitClicksOptions
    dataset: str
    reader: ReaderOptions
    seed: int = 0


_LOG = Flag("LOG", FitClicksOptions, "log", dest="log", is_positional=True)
_NOT_OF_A_LOG = ("limit", "partition", "min-area", "max-area")
FIT_CLICKS = (
    Group(
        "clicks",
        (
            _LOG,
            Flag("log-format", FitClicksOptions),
            Flag("masks", FitClicksOptions),
            Flag("out", FitClicksOptions),
            Flag("held-out", FitClicksOptions),
            Flag("max-reject-rate", FitClicksOptions),
            SEED,
        ),
    ),
    DATA.without(*_NOT_OF_A_LOG),
)


def fit_clicks_config(arguments: argparse.Namespace) -> FitClicksConfig:
    """Validate the arguments of `hlmat fit-clicks`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, FIT_CLICKS, check)
    values.read_given()
    files = values.build(FitClicksOptions)
    selection = values.build(SelectionOptions)
    dataset = selection.dataset
    if not files.out:
        check.note("--out is missing: name the file of the click model, as model.json")
    elif not files.out.endswith(".json"):
        check.note(f"--out {files.out!r}: the name must end in .json")
    if files.log_format == RCLICKS and dataset not in RCLICKS_DATASETS:
        check.note(
            f"--log-format rclicks needs the data set of the clicks; give --dataset "
            f"{', '.join(RCLICKS_DATASETS[:-1])}, or {RCLICKS_DATASETS[-1]} for TETRIS"
        )
    reader = values.build(
        ReaderOptions,
        storage=storage_for(values.get("data-root"), is_data=True),
        shapes=shapes_options(values, check, dataset=dataset),
    )
    if dataset:
        if (problem := check_dataset_name(dataset)) is not None:
            check.note(problem)
        else:
            check.maybe(check_split(dataset, reader.split))
            if DATASETS[dataset].needs_data_root and not reader.data_root:
                check.note(missing_root(dataset))
    elif reader.data_root:
        check.note("--data-root belongs to --dataset; the masks of a log are below --masks")
    for path in (files.log, files.masks, files.out, reader.data_root):
        check.maybe(url_problem(path))
    check.done()
    return FitClicksConfig(files, dataset, reader, selection.seed)
