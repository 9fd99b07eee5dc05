"""The evaluation of every decile of people's clicks, for `hlmat evaluate --click-decile all`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hlmat.export.reports.evaluation_report import escape_markdown, figure_notes, figure_text
from hlmat.pipelines.evaluation.compare import read_evaluation
from hlmat.pipelines.evaluation.evaluate import EvaluationReport, evaluate
from hlmat.pipelines.evaluation.results import INTERVALS, click_protocol
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.settings.evaluation_options import EvaluationConfig
from hlmat.transforms.clickability.sampling import DECILES
from hlmat.transforms.core.errors import ConfigError, DataError, OutputError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.metrics.click_deciles import decile_figures
from hlmat.transforms.policies.registry import PolicyOptions

FIGURES = "click_deciles.json"
REPORT = "click_deciles.md"


@dataclass(frozen=True)
class DecilesReport:
    """The outcome of the evaluations.

    Attributes:
        figures: as in click_deciles.json.
        text: the figures as tables.
        files: written paths, by label.
        evaluations: the configuration and report of each decile, the least likely clicks first.
    """

    figures: Mapping[str, Any]
    text: str
    files: Mapping[str, str]
    evaluations: Sequence[tuple[EvaluationConfig, EvaluationReport]]


def evaluate_deciles(config: EvaluationConfig, *, quiet: bool = False) -> DecilesReport:
    """Evaluate each decile in a folder of its own below OUT, resuming what is there, and compare.

    Raises:
        ConfigError: the policy is not `human`, or as `evaluate` raises it.
        DataError: no target has a trajectory in every decile, or as `evaluate` raises it.
        OutputError: OUT contains a run, or as `evaluate` raises it.
        IncompleteError: units died; the same call resumes them.
    """
    out = config.run.out.rstrip("/")
    storage = storage_for(out)
    if storage.is_file(OutputLayout(out).manifest):
        raise OutputError(
            f"{out} holds a run, and --click-decile all writes a run for each decile into folders "
            "below --out; choose another --out"
        )
    done = [(each, evaluate(each, quiet=quiet)) for each in decile_configs(config)]
    protocol = replace(
        click_protocol(read_run_manifest(done[0][0].run.out)), thresholds=config.clicks.thresholds
    )
    results = [read_evaluation(each.run.out).results or {} for each, _ in done]
    try:
        figures = decile_figures(results, protocol)
    except ValueError as error:
        raise DataError(
            f"{out}: {error}; `hlmat rejects {done[0][0].run.out}` may say why"
        ) from error
    figures |= {"intervals": INTERVALS, "step": config.step}
    text = render_deciles(figures)
    content = json.dumps(figures, sort_keys=True, indent=1, ensure_ascii=True) + "\n"
    storage.write_bytes(f"{out}/{FIGURES}", content.encode())
    storage.write_bytes(f"{out}/{REPORT}", text.encode())
    files = {
        "report": f"{out}/{REPORT}",
        "figures": f"{out}/{FIGURES}",
        "deciles": f"{out}/decile-01 to {out}/decile-{DECILES}",
    }
    return DecilesReport(figures, text, files, done)


def decile_configs(config: EvaluationConfig) -> Iterator[EvaluationConfig]:
    """Yield the configuration of each decile's evaluation, the least likely clicks first.

    Raises:
        ConfigError: the policy is not `human`.
    """
    policy = config.run.policy
    if not isinstance(policy, PolicyOptions) or policy.name != "human":
        raise ConfigError([f"deciles of clicks need --policy human, not {policy.name}"])
    for decile in range(1, DECILES + 1):
        clicks = replace(policy.human_clicks, decile=decile)
        run = replace(
            config.run,
            policy=replace(policy, human=clicks),
            out=f"{config.run.out.rstrip('/')}/decile-{decile:02d}",
        )
        yield replace(config, run=run, all_deciles=False)


def render_deciles(figures: Mapping[str, Any]) -> str:
    """Return the figures over deciles as Markdown."""
    by_name: Mapping[str, Mapping[str, Any]] = figures["figures"]
    lines = [
        "## People's clicks",
        "",
        "| figure | mean over clicks | likely less unlikely | | spread |",
        "|---|---|---|---|---|",
    ]
    for name, each in by_name.items():
        difference = each["likely_minus_unlikely"]
        cells = [
            escape_markdown(name),
            figure_text(each["mean"]),
            figure_text(difference, sign="+"),
            difference["change"],
            figure_text(each["spread"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    deciles = range(1, DECILES + 1)
    lines += [
        "",
        f"| decile, 1 the least likely | {' | '.join(map(str, deciles))} |",
        f"|---{'|---' * DECILES}|",
    ]
    for name, each in by_name.items():
        values = " | ".join(f"{decile['value']:.3f}" for decile in each["deciles"])
        lines.append(f"| {escape_markdown(name)} | {values} |")
    lines += [
        "",
        f"{figures['targets']} targets of {figures['images']} images"
        + (f"; {figures['unpaired']} lack a decile" if figures["unpaired"] else "")
        + ". The spread is the standard deviation over deciles, mean over targets.",
        "",
        *figure_notes(figures),
    ]
    return "\n".join(lines) + "\n"
