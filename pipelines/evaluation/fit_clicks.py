"""The job `hlmat fit-clicks`: a click model from a log of people's clicks, and how well it fits."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlmat.export.reports.evaluation_report import figure_text
from hlmat.pipelines.settings.fit_clicks_options import RCLICKS, FitClicksConfig
from hlmat.transforms.clickability.choices import ClickedError
from hlmat.transforms.clickability.click_model import FEATURES, ClickModel
from hlmat.transforms.clickability.fitting import PRIOR_DEVIATION, fit_weights
from hlmat.transforms.clickability.goodness import goodness_of_fit
from hlmat.transforms.clickability.splitting import split_by_image
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.metrics.bootstrap import METHOD, remark_on_images
from hlmat.transforms.readers.click_logs.csv_log import parse_csv_log
from hlmat.transforms.readers.click_logs.placing import Masks, place_clicks
from hlmat.transforms.readers.click_logs.rclicks import parse_rclicks_log
from hlmat.transforms.readers.click_logs.records import ClickLog, RejectedRow
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.text_files import read_text

_SHOWN_REJECTS = 5
_LABELS = {
    "model": "the fitted model",
    "uniform": "uniform",
    "distance_transform": "distance transform",
}


@dataclass(frozen=True)
class FitReport:
    """The outcome of a fit.

    Attributes:
        model: as written; its `fit` has the figures.
        rejects: rows that were not used, by line.
        text: the figures as tables.
        files: written paths, by label.
        remarks: warnings for the user.
    """

    model: ClickModel
    rejects: Sequence[RejectedRow]
    text: str
    files: Mapping[str, str]
    remarks: Sequence[str]


def fit_clicks(config: FitClicksConfig) -> FitReport:
    """Fit a click model to a log, judge it on held-out images, and write it.

    Raises:
        ConfigError: the data set cannot be opened.
        DataError: the log cannot be read, has too few usable clicks, or too many others.
    """
    files = config.files
    log, digest = _read_log(config)
    is_rclicks = files.log_format == RCLICKS
    folder = posixpath.dirname(files.log) if files.masks is None else files.masks
    masks = Masks(
        storage=storage_for(folder, is_data=True),
        root=folder or ".",
        reader=open_reader(config.dataset, config.reader) if config.dataset else None,
        is_by_stem=is_rclicks,
    )
    placed = place_clicks(log.clicks, masks, seed=config.seed)
    rejects = sorted([*log.rejects, *placed.rejects], key=lambda reject: reject.line)
    used = len(log.clicks) + len(log.rejects) - len(rejects)
    _check_share(files.log, used, rejects, skipped=log.skipped, limit=files.max_reject_rate)
    try:
        fitted, held = split_by_image(placed.errors, held_out=files.held_out, seed=config.seed)
        fit = fit_weights(fitted)
    except ValueError as error:
        raise DataError(f"{files.log}: {error}") from error
    weights = dict(zip(FEATURES, fit.weights.tolist(), strict=True))
    name = posixpath.basename(files.log)
    figures = {
        "log": {"name": name, "sha256": digest, "format": files.log_format},
        "dataset": config.dataset or None,
        "seed": config.seed,
        "held_out_share": files.held_out,
        "prior_deviation": PRIOR_DEVIATION,
        "rejects": dict(sorted(Counter(str(r.reason) for r in rejects).items())),
        "skipped": log.skipped,
        "fitted": {**_counts(fitted), "log_likelihood": fit.log_likelihood},
        "standard_errors": None
        if fit.standard_errors is None
        else dict(zip(FEATURES, fit.standard_errors.tolist(), strict=True)),
    }
    judged = goodness_of_fit(held, ClickModel(weights, source=name), seed=config.seed)
    counts = figures["fitted"]
    source = (
        f"Fitted by hlmat fit-clicks to {counts['clicks']} clicks on {counts['images']} images of "
        f"{name} and judged on {judged['clicks']} clicks on {judged['images']} other images."
    )
    model = ClickModel(weights, source=source, fit={**figures, "held_out": judged})
    few = remark_on_images(judged["images"])
    return FitReport(
        model=model,
        rejects=rejects,
        text=format_fit(model),
        files=_write(model, rejects, files.out),
        remarks=[f"held-out clicks: {few}"] if few else [],
    )


def format_fit(model: ClickModel) -> str:
    """Return a fitted model and its figures as Markdown tables."""
    fit = model.fit
    errors, judged = fit["standard_errors"], fit["held_out"]
    lines = ["| feature | weight | standard error |", "|---|---|---|"]
    lines += [
        f"| {name} | {weight:+.3f} | {'none' if errors is None else f'{errors[name]:.3f}'} |"
        for name, weight in model.weights.items()
    ]
    lines += ["", "| held-out clicks | KS of depth | Wasserstein of depth |", "|---|---|---|"]
    lines += [
        f"| {label} | {judged['KS'][name]:.3f} | {judged['wasserstein'][name]:.3f} |"
        for name, label in _LABELS.items()
    ]
    lines += ["", "| log-likelihood per click, in nats | |", "|---|---|"]
    lines.append(f"| the fitted model | {figure_text(judged['log_likelihood'])} |")
    lines += [
        f"| gain over {_LABELS[name]} | {figure_text(gain, sign='+')} |"
        for name, gain in judged["gain_over"].items()
    ]
    shares = " ".join(f"{share:.2f}" for share in judged["deciles"])
    rejects = ", ".join(f"{name} {count}" for name, count in fit["rejects"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Held-out clicks by decile of the model, 1 to 10 (0.10 each is right): {shares}.",
            f"Fitted to {fit['fitted']['clicks']} clicks on {fit['fitted']['images']} images; held "
            f"out {judged['clicks']} clicks on {judged['images']} images.",
            f"Rejected rows: {rejects or 'none'}.",
            f"{METHOD}.",
        ]
    )


def _read_log(config: FitClicksConfig) -> tuple[ClickLog, str]:
    path = config.files.log
    text = read_text(storage_for(path), path)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if config.files.log_format == RCLICKS:
        return parse_rclicks_log(text, name=path, dataset=config.dataset), digest
    return parse_csv_log(text, name=path, has_dataset=bool(config.dataset)), digest


def _check_share(
    name: str, used: int, rejects: Sequence[RejectedRow], *, skipped: int, limit: float
) -> None:
    rows = used + len(rejects)
    if used and len(rejects) <= limit * rows:
        return
    if not rows:
        other = f"; its {skipped} rows are about other data sets" if skipped else ""
        raise DataError(f"{name} has no clicks{other}")
    shown = "".join(f"\n  line {r.line}: {r.reason}: {r.message}" for r in rejects[:_SHOWN_REJECTS])
    if len(rejects) > _SHOWN_REJECTS:
        shown += f"\n  and {len(rejects) - _SHOWN_REJECTS} more"
    if not used:
        raise DataError(f"{name}: none of {rows} clicks can be used:{shown}")
    raise DataError(
        f"{name}: {len(rejects)} of {rows} clicks cannot be used, more than --max-reject-rate "
        f"{limit:g} allows:{shown}"
    )


def _counts(errors: Sequence[ClickedError]) -> dict[str, Any]:
    return {
        "clicks": sum(len(error.clicked) for error in errors),
        "errors": len(errors),
        "images": len({error.image for error in errors}),
    }


def _write(model: ClickModel, rejects: Sequence[RejectedRow], out: str) -> dict[str, str]:
    storage = storage_for(out)
    files = {"click model": out}
    listed = f"{out.removesuffix('.json')}.rejects.jsonl"
    if rejects:
        lines = [json.dumps(reject.as_dict(), ensure_ascii=True) + "\n" for reject in rejects]
        storage.write_bytes(listed, "".join(lines).encode())
        files["rejected rows"] = listed
    else:
        storage.remove(listed)
    # Written last, to mark the fit as complete.
    storage.write_bytes(out, model.to_json())
    return files
