"""The job `hlmat compare`: evaluations side by side, as a table and as charts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.reports.charts import iou_by_step_chart, learning_curve_chart
from hlmat.export.reports.evaluation_report import RESULTS_HEADER, results_row
from hlmat.pipelines.evaluation.evaluate import METRICS
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat compare`."""
    parser.add_argument(
        "evaluations",
        metavar="NAME=OUT",
        nargs="+",
        help="finished evaluations and what to call them",
    )
    parser.add_argument("--chart", metavar="FILE", help="write IoU by step of all of them, a PNG")
    parser.add_argument(
        "--learning-curve",
        metavar="FILE",
        help="write gIoU over the names, which are then numbers of training targets, a PNG",
    )


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read the figures of every evaluation and write the charts asked for.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: a folder holds no finished evaluation.
    """
    check = Check()
    folders: dict[str, str] = {}
    for text in arguments.evaluations:
        name, equals, folder = text.rpartition("=")
        if not equals or not name or not folder:
            check.note(f"{text!r}: expected NAME=OUT, as trained=out/mini/test")
        elif name in folders:
            check.note(f"{name!r} is the name of two evaluations; choose another")
        elif arguments.learning_curve and not name.isdigit():
            check.note(f"{name!r}: with --learning-curve a name is a number of training targets")
        else:
            folders[name] = folder
    check.done()
    figures = {name: _read_figures(folder) for name, folder in folders.items()}
    if arguments.chart:
        series = {name: f["IoU@k"] for name, f in figures.items()}
        _write(arguments.chart, iou_by_step_chart(series))
    if arguments.learning_curve:
        points = [(int(name), f["gIoU"]) for name, f in figures.items()]
        _write(arguments.learning_curve, learning_curve_chart(points))
    return figures


def format_comparison(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table with a line for each evaluation."""
    rows: Sequence[str] = [results_row(name, each) for name, each in figures.items()]
    return "\n".join([RESULTS_HEADER, *rows])


def _read_figures(folder: str) -> dict[str, Any]:
    storage = storage_for(folder)
    path = f"{folder.rstrip('/')}/{METRICS}"
    if not storage.is_file(path):
        raise DataError(
            f"{folder} holds no {METRICS}; name the output folder of a finished hlmat evaluate"
        )
    try:
        figures = json.loads(storage.read_bytes(path))
        results_row("", figures)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not hold the figures of an evaluation ({type(error).__name__}: {error}); "
            "run hlmat evaluate again"
        ) from error
    return figures


def _write(path: str, content: bytes) -> None:
    storage_for(path).write_bytes(path, content)
