"""The job `hlmat compare`: evaluations and other runs side by side, paired over shared targets."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlmat.export.reports.charts import (
    iou_by_step_chart,
    learning_curve_chart,
    missing_for_charts,
)
from hlmat.export.reports.evaluation_report import (
    RESULTS_HEADER,
    escape_markdown,
    figure_text,
    results_row,
)
from hlmat.export.reports.noc_tables import render_noc_tables
from hlmat.export.runs.manifest import read_manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.evaluation.results import METRICS, click_protocol, evaluation_results
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.metrics.bootstrap import METHOD, remark_on_images
from hlmat.transforms.metrics.paired_results import compare_results
from hlmat.transforms.metrics.target_results import TargetResult, measure_rollout, rolled_out

_DIFFERENCES_HEADER = (
    "| policy | gIoU compared with {first} | | cIoU compared with {first} | | targets | images |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, or another finished run.

    Attributes:
        figures: as in metrics.json, with intervals resampled by image where `results` are known.
        results: per target, by id and ground truth; None without trajectories.
        remark: where the figures come from, if the run has no report; else "".
    """

    figures: dict[str, Any]
    results: Mapping[str, TargetResult] | None
    remark: str = ""


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read the figures of every evaluation, compare each with the first, and draw charts.

    Returns:
        By name the figures of metrics.json with `difference` from the first evaluation over the
        shared targets (None for the first, or if nothing is shared) and `remarks`.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: a folder has no finished run.
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
    if arguments.chart or arguments.learning_curve:
        check.maybe(missing_for_charts())
    check.done()
    evaluations = {name: read_evaluation(folder) for name, folder in folders.items()}
    figures = {
        name: {**each.figures, **_comparison(name, evaluations)}
        for name, each in evaluations.items()
    }
    if arguments.chart:
        series = {name: f["IoU@k"] for name, f in figures.items()}
        _write(arguments.chart, iou_by_step_chart(series))
    if arguments.learning_curve:
        points = [(int(name), f["gIoU"]) for name, f in figures.items()]
        _write(arguments.learning_curve, learning_curve_chart(points))
    return figures


def format_comparison(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return Markdown tables: the figures of each evaluation, and its difference from the first."""
    rows: Sequence[str] = [results_row(name, each) for name, each in figures.items()]
    lines = [RESULTS_HEADER, *rows]
    differences = [
        _difference_row(name, each["difference"])
        for name, each in figures.items()
        if each.get("difference")
    ]
    if differences:
        lines += [
            "",
            _DIFFERENCES_HEADER.format(first=escape_markdown(next(iter(figures)))),
            *differences,
        ]
    if len({tuple(each.get("at_limit", ())) for each in figures.values()} - {()}) == 1:
        lines += ["", render_noc_tables({n: f for n, f in figures.items() if "at_limit" in f})]
    remarks = [remark for each in figures.values() for remark in each.get("remarks", ())]
    lines += ["", f"{METHOD}.", *(f"Warning: {remark}." for remark in remarks)]
    return "\n".join(lines)


def read_evaluation(folder: str) -> Evaluation:
    """Read an evaluation; compute the figures of a run without a report, such as an edited one.

    The figures of a report whose intervals are not by image are computed too.

    Raises:
        DataError: the folder has no finished run, its files are damaged, or every target is a
            reject.
    """
    storage, out = storage_for(folder), folder.rstrip("/")
    figures = _read_figures(folder)
    if not storage.is_file(OutputLayout(out).manifest):
        if figures is None:
            raise DataError(
                f"{folder} has neither {METRICS} nor a manifest.json; name the output folder of a "
                "finished run, such as one of hlmat evaluate"
            )
        return Evaluation(figures, None)
    manifest = read_manifest(storage, out)
    trajectories = list(read_trajectories(storage, out, manifest=manifest))
    if not trajectories:
        raise DataError(
            f"{folder} has no trajectory, so there is nothing to compare; `hlmat rejects {folder}` "
            "says why its targets were rejected"
        )
    keys = [
        f"{t.target.ref.target_id} {hashlib.sha256(t.target.truth.counts.encode()).hexdigest()}"
        for t in trajectories
    ]
    protocol = click_protocol(manifest)
    step = "last" if figures is None else figures["step"]
    remark = ""
    if figures is not None and "images" in figures:
        results = [
            measure_rollout(rolled_out(t), step=step, max_clicks=protocol.max_clicks)
            for t in trajectories
        ]
    else:
        results, computed = evaluation_results(trajectories, protocol=protocol, step=step)
        if figures is None:
            remark = f"no {METRICS} in its folder, so its figures are computed from its last masks"
            figures = {"targets": len(trajectories) + manifest.counts["rejects"], "step": step}
        figures |= computed
    return Evaluation(figures, dict(zip(keys, results, strict=True)), remark)


def _difference_row(name: str, difference: Mapping[str, Any]) -> str:
    cells = [
        cell
        for key in ("gIoU", "cIoU")
        for cell in (figure_text(difference[key], sign="+"), difference[key]["change"])
    ]
    counts = f"{difference['targets']} | {difference['images']}"
    return f"| {escape_markdown(name)} | {' | '.join(cells)} | {counts} |"


def _comparison(name: str, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return `difference` from the first evaluation, and `remarks`."""
    first_name, first = next(iter(evaluations.items()))
    one = evaluations[name]
    if first.results is None or one.results is None:
        remarks = [f"{name}: no trajectories in its folder, so nothing is paired"]
        if "images" not in one.figures:
            remarks.append(
                f"{name}: its intervals resample targets, not images, and are too narrow"
            )
        return {"difference": None, "remarks": remarks if one.results is None else []}
    found = (one.remark, remark_on_images(one.figures["images"]))
    remarks = [f"{name}: {remark}" for remark in found if remark]
    if one is first:
        return {"difference": None, "remarks": remarks}
    shared = len(first.results.keys() & one.results.keys())
    if shared < len(first.results) or shared < len(one.results):
        remarks.append(
            f"{name} and {first_name} share {shared} targets, of {len(one.results)} and "
            f"{len(first.results)}; "
            + ("compared over these only" if shared else "they cannot be compared")
        )
    difference = compare_results(first.results, one.results)
    return {"difference": difference and {"against": first_name, **difference}, "remarks": remarks}


def _read_figures(folder: str) -> dict[str, Any] | None:
    """Return the figures of a report, None without one."""
    storage = storage_for(folder)
    path = f"{folder.rstrip('/')}/{METRICS}"
    if not storage.is_file(path):
        return None
    try:
        figures = json.loads(storage.read_bytes(path))
        results_row("", figures)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not contain the figures of an evaluation ({type(error).__name__}: "
            f"{error}); "
            "run hlmat evaluate again"
        ) from error
    return figures


def _write(path: str, content: bytes) -> None:
    storage_for(path).write_bytes(path, content)
