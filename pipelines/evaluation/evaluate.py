"""The job `hlmat evaluate`: rollouts with a model, their figures, and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2

from hlmat.export.formats.predictions import predictions_json
from hlmat.export.reports.charts import (
    iou_by_step_chart,
    missing_for_charts,
    noc_chart,
    reliability_chart,
)
from hlmat.export.reports.evaluation_html import render_html
from hlmat.export.reports.evaluation_report import (
    render_markdown,
    render_metrics_json,
    worst_and_best,
)
from hlmat.export.reports.noc_tables import iou_rows, noc_rows, render_noc_tables
from hlmat.export.runs.manifest import Manifest
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.evaluation.click_time import measure_click_time
from hlmat.pipelines.evaluation.results import METRICS, click_protocol, evaluation_results
from hlmat.pipelines.evaluation.stats import format_counts, may_be_inverted
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.run.leak_guard import refuse_leaks
from hlmat.pipelines.run.output_errors import output_errors
from hlmat.pipelines.run.planning import reading_errors
from hlmat.pipelines.run.training_frames import refuse_other_frames
from hlmat.pipelines.run.trajectories import RunReport, make_trajectories
from hlmat.pipelines.settings.evaluation_options import EvaluationConfig
from hlmat.pipelines.settings.noc_options import Protocol
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.image_digest import check_same_image, image_digest
from hlmat.transforms.core.image_identity import KnownImage, image_key
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import TargetRef, Trajectory
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.work_units import select_items
from hlmat.transforms.metrics.bootstrap import remark_on_images
from hlmat.transforms.metrics.click_curves import ClickProtocol, clicks_at_most
from hlmat.transforms.metrics.invalid_answers import remark_on_invalid
from hlmat.transforms.metrics.target_results import TargetResult
from hlmat.transforms.prompting.strips import image_strip
from hlmat.transforms.readers.registry import open_reader

PREDICTIONS = "predictions.json"
REPORT = "report.md"
PAGE = "report.html"
IOU_BY_STEP = "charts/iou_by_step.png"
NOC = "charts/noc.png"
RELIABILITY = "charts/reliability.png"
SHOWN_TARGETS = 12
"""Number of worst and best targets to draw."""


@dataclass(frozen=True)
class EvaluationReport:
    """The outcome of an evaluation.

    Attributes:
        figures: as in metrics.json.
        text: the figures as a table.
        files: written paths, by label.
        remarks: warnings for the user.
    """

    figures: Mapping[str, Any]
    text: str
    files: Mapping[str, str]
    remarks: Sequence[str]


def evaluate(config: EvaluationConfig, *, quiet: bool = False) -> EvaluationReport:
    """Roll the policy out, resuming an unfinished run, and write the report.

    Raises:
        ConfigError: a model or file is missing, or the evaluation would use training images.
        DataError: the data set cannot be listed, or has no targets.
        OutputError: the output folder cannot be written or contains another run.
        IncompleteError: units died; the same call resumes them.
    """
    refuse_other_frames(config.run.policy, model=config.model, trained_on=config.trained_on)
    remarks = refuse_leaks(
        partial(evaluated_images, config),
        model=config.model,
        trained_on=config.trained_on,
        allow_leak=config.allow_leak,
    )
    if (problem := missing_for_charts()) is not None:
        remarks = [*remarks, f"no charts: {problem}"]
    run = make_trajectories(config.run, quiet=quiet)
    return _write_report(config, run, remarks=[*remarks, *run.remarks])


def evaluated_images(config: EvaluationConfig, with_digests: bool) -> list[KnownImage]:
    """Return the images that an evaluation uses, for the leak guard.

    Args:
        config: the evaluation's configuration.
        with_digests: read the images and add the digests of their pixels.
    """
    run = config.run
    shapes = run.shapes_settings()
    with reading_errors(run):
        reader = open_reader(run.dataset, run.reader)
        items = select_items(reader.read_targets(), partition=run.partition, limit=run.limit)
        by_path: dict[str, list[TargetRef]] = {}
        for item in items:
            if isinstance(item, TargetRef):
                by_path.setdefault(item.image_path, []).append(item)
        keyed = [(image_key(refs[0], shapes=shapes), refs) for refs in by_path.values()]
        if not with_digests:
            return sorted({KnownImage(key) for key, _ in keyed})
        threads = Threads(available_cores())
        digests = threads.map_ahead(
            lambda entry: _digest_of(reader, entry[1]), keyed, ahead=2 * threads.count
        )
        return sorted(
            {KnownImage(key, digest) for (key, _), digest in zip(keyed, digests, strict=True)}
        )


def _digest_of(reader: DatasetReader, refs: Sequence[TargetRef]) -> str:
    """Return the digest of an image, "" if none of its targets can be used."""
    for ref in refs:
        try:
            height, width = reader.load_truth(ref).truth.shape
            return image_digest(reader.load_image(ref.image_path, size_hw=(height, width)))
        except TargetError:
            continue
    return ""


def _write_report(
    config: EvaluationConfig, run: RunReport, *, remarks: Sequence[str]
) -> EvaluationReport:
    out = config.run.out
    storage = storage_for(out)
    manifest = read_run_manifest(out)
    is_noc = config.clicks.protocol is Protocol.NOC20
    protocol = replace(
        click_protocol(manifest), thresholds=config.clicks.thresholds, has_boundary=is_noc
    )
    trajectories = list(read_trajectories(storage, out, manifest=manifest))
    if not trajectories:
        raise DataError(
            f"{out}: every target was rejected, so there is nothing to evaluate; "
            f"`hlmat rejects {out}` gives the reasons"
        )
    results, figures = evaluation_results(trajectories, protocol=protocol, step=config.step)
    rejects = _counted(r.reason.value for r in read_rejects(storage, out, manifest=manifest))
    clicks = sum(t.num_clicks for t in trajectories)
    figures |= {
        "protocol": str(config.clicks.protocol),
        **(
            _noc_figures(config, results, protocol=protocol)
            if is_noc
            else {"SPC": _seconds_per_click(run, clicks=clicks, storage=storage, out=out)}
        ),
        "step": config.step,
        "filling_targets": sum(may_be_inverted(t.target) for t in trajectories),
        "rejected": sum(rejects.values()),
        "rejects": rejects,
        "targets": len(trajectories) + sum(rejects.values()),
        **{key: manifest.config[key] for key in ("dataset", "split", "policy", "expressions")},
        "segmenter": manifest.config["segmenter"]["name"],
    }
    found = (
        remark_on_images(figures["images"]),
        remark_on_invalid(figures.get("invalid_answers", {}), rollouts=len(trajectories)),
    )
    remarks = [*remarks, *(remark for remark in found if remark)]
    settings = {
        "data set": f"{figures['dataset']} ({figures['split']})",
        "policy": figures["policy"],
        "segmenter": figures["segmenter"],
        "prediction": config.step,
        "expressions": figures["expressions"],
        "clicks": f"at most {protocol.max_clicks}, after: {protocol.initial_action}",
        "rejected": f"{figures['rejected']} ({format_counts(rejects)})" if rejects else "0",
        "configuration": trajectories[0].provenance.config_fingerprint,
    }
    text = render_markdown(figures, title="Evaluation", settings=settings)
    tables = {}
    if is_noc:
        rows = {str(figures["dataset"]): figures}
        text += f"\n{render_noc_tables(rows)}\n"
        tables = {"Clicks by IoU": noc_rows(rows), "IoU by clicks": iou_rows(rows)}
    charts = (
        {} if missing_for_charts() else _charts(figures, results, thresholds=protocol.thresholds)
    )
    strips, unreadable = _strips(results, trajectories, manifest=manifest, config=config)
    remarks += unreadable
    contents = {
        PREDICTIONS: predictions_json(trajectories),
        METRICS: render_metrics_json(figures),
        **charts,
        **strips,
        PAGE: render_html(
            figures,
            title=f"Evaluation: {settings['data set']}, {settings['policy']}",
            settings=settings,
            charts={_CHART_TITLES[name]: data for name, data in charts.items()},
            strips={_strip_caption(name): data for name, data in strips.items()},
            tables=tables,
        ),
        # Written last, to mark the report as complete.
        REPORT: (text + _image_lines(charts)).encode(),
    }
    with output_errors(out):
        for name, content in contents.items():
            storage.write_bytes(f"{out}/{name}", content)
    files = {
        "report": f"{out}/{REPORT}, {out}/{PAGE}",
        "figures": f"{out}/{METRICS}",
        "predictions": f"{out}/{PREDICTIONS}, {out}/trajectories/*.parquet",
        "images": f"{out}/charts, {out}/strips" if charts else f"{out}/strips",
    }
    return EvaluationReport(figures, text, files, remarks)


def _noc_figures(
    config: EvaluationConfig, results: Sequence[TargetResult], *, protocol: ClickProtocol
) -> dict[str, Any]:
    """Return what the protocol noc20 adds: targets that need every click, time after a warm-up."""
    limit = protocol.max_clicks
    time = measure_click_time(config.run)
    return {
        "at_limit": {
            f"{100 * t:g}": sum(
                clicks_at_most(r.iou_after_click, t, max_clicks=limit) == limit for r in results
            )
            for t in protocol.thresholds
        },
        "SPC": time.seconds_per_click,
        "SPC_targets": time.targets,
    }


def _strips(
    results: Sequence[TargetResult],
    trajectories: Sequence[Trajectory],
    *,
    manifest: Manifest,
    config: EvaluationConfig,
) -> tuple[dict[str, bytes], list[str]]:
    """Draw the worst and the best targets as PNG files, by name; return remarks too."""
    reader = open_source(manifest, data_root=config.run.reader.data_root)
    by_id = {t.target.ref.target_id: t for t in trajectories}
    worst, best = worst_and_best(results, count=SHOWN_TARGETS)
    strips: dict[str, bytes] = {}
    unreadable: list[str] = []
    for label, target_ids in (("worst", worst), ("best", best)):
        for place, target_id in enumerate(target_ids, start=1):
            trajectory = by_id[target_id]
            try:
                image = reader.load_image(
                    trajectory.target.ref.image_path, size_hw=trajectory.target.size_hw
                )
                check_same_image(image, trajectory.target)
            except TargetError as error:
                unreadable.append(f"no strip of {target_id}: {error}")
                continue
            strip = cv2.cvtColor(image_strip(image, trajectory), cv2.COLOR_RGB2BGR)
            strips[f"strips/{label}_{place:02d}.png"] = cv2.imencode(".png", strip)[1].tobytes()
    return strips, unreadable


def _charts(
    figures: Mapping[str, Any], results: Sequence[TargetResult], *, thresholds: Sequence[float]
) -> dict[str, bytes]:
    """Draw the charts of a report as PNG files, by name."""
    charts = {
        IOU_BY_STEP: iou_by_step_chart({str(figures["policy"]): figures["IoU@k"]}),
        NOC: noc_chart([r.iou_after_click for r in results], thresholds=thresholds),
    }
    if "score_calibration" in figures:
        bins = figures["score_calibration"]["bins"]
        charts[RELIABILITY] = reliability_chart({"masks": bins})
    return charts


_CHART_TITLES = {IOU_BY_STEP: "IoU by step", NOC: "NoC", RELIABILITY: "Scores"}


def _strip_caption(name: str) -> str:
    """Return "worst, 3" for strips/worst_03.png."""
    label, _, place = name.partition("/")[2].removesuffix(".png").partition("_")
    return f"{label}, {int(place)}"


def _image_lines(charts: Mapping[str, bytes]) -> str:
    shown = "".join(f"![{_CHART_TITLES[name]}]({name})\n" for name in charts)
    return (
        f"\n{shown}\n"
        "`strips/` shows the worst and the best targets: the outline of the ground truth, each "
        "state with its click, the last mask.\n"
    )


def _seconds_per_click(run: RunReport, *, clicks: int, storage: Storage, out: str) -> float | None:
    """Return the time per click, policy and segmenter together, on this run's machine.

    A run that was resumed or already complete keeps the time measured earlier, if any.
    """
    if run.targets_done and clicks and run.status.value == "new":
        return round(run.elapsed_s / clicks, 4)
    if storage.is_file(f"{out}/{METRICS}"):
        try:
            return json.loads(storage.read_bytes(f"{out}/{METRICS}"))["SPC"]
        except (ValueError, KeyError, TypeError):
            return None
    return None


def _counted(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
