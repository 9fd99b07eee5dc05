"""The leaderboard of a folder of submissions, as Markdown and HTML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hlmat.export.reports.evaluation_report import escape_markdown, figure_text
from hlmat.pipelines.hlmat_bench.scoring import score_submission
from hlmat.pipelines.hlmat_bench.tracks import TRACKS, VERSION
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.metrics.bootstrap import METHOD
from hlmat.transforms.metrics.budget_figures import BUDGETS

_SUBMISSIONS = ("*.yaml", "*.yml")


def score_all(folder: str, *, data_root: str | None = None) -> list[dict[str, Any]]:
    """Score every submission below a folder, best area under the gIoU curve first in each track.

    Raises:
        ConfigError: there is none.
        DataError: one cannot be scored; the message names all of them.
    """
    paths = sorted({p for pattern in _SUBMISSIONS for p in Path(folder).rglob(pattern)})
    if not paths:
        raise ConfigError([f"{folder} has no submission: expected YAML files, name.yaml"])
    scores, problems = [], []
    for path in paths:
        try:
            scores.append(score_submission(os.fspath(path), data_root=data_root))
        except (ConfigError, DataError) as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return sorted_scores(scores)


def sorted_scores(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return scores by track, best area under the gIoU curve first."""
    order = list(TRACKS)
    return sorted(
        scores,
        key=lambda s: (
            order.index(s["track"]),
            -s["figures"]["AUC"]["gIoU"]["value"],
            s["name"],
        ),
    )


def leaderboard_tables(
    scores: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return head and rows of the table of each track that has a submission."""
    head = [
        *("submission", "start", "segmenter"),
        *(f"gIoU@{k}" for k in BUDGETS),
        *(f"cIoU@{k}" for k in BUDGETS),
        *("AUC gIoU", "AUC cIoU", "gIoU, stopped", "stop regret", "overshoot, clicks"),
        *("invalid", "clicks", "segmenter calls", "SPC, s", "above control", "N-acc, T-acc"),
        *("targets", "list checked"),
    ]
    tables: dict[str, tuple[list[str], list[list[str]]]] = {}
    for score in scores:
        tables.setdefault(score["track"], (head, []))[1].append(list(_cells(score)))
    return tables


def render_leaderboard(scores: Sequence[Mapping[str, Any]]) -> str:
    """Return the leaderboard as Markdown, published figures apart from measured ones."""
    parts = [f"# HLMAT-Bench v{VERSION}"]
    for track, (head, rows) in leaderboard_tables(scores).items():
        parts += [
            "",
            f"## {track}",
            "",
            f"{TRACKS[track].summary[:1].upper()}{TRACKS[track].summary[1:]}.",
            "",
        ]
        parts += [_markdown_row(head), _markdown_row(["---"] * len(head), escape=False)]
        parts += [_markdown_row(row) for row in rows]
    return "\n".join([*parts, "", f"{METHOD}."]) + "\n"


def _cells(score: Mapping[str, Any]) -> Iterator[str]:
    figures = score["figures"]
    yield from (score["name"], score["start"], score["segmenter"])
    for name in ("gIoU@k", "cIoU@k"):
        yield from (figure_text(figures[name][str(k)]) for k in BUDGETS)
    yield from (figure_text(figures["AUC"][name]) for name in ("gIoU", "cIoU"))
    yield from (figure_text(figures[name]) for name in ("gIoU", "stop_regret"))
    yield figure_text(figures["overshoot"], digits=2)
    yield f"{100 * figures['invalid_rate']['value']:.1f} %"
    yield from (f"{figures[name]['value']:.2f}" for name in ("clicks", "segmenter_calls"))
    seconds, control = score["seconds_per_click"], score["control"]
    yield "not given" if seconds is None else f"{seconds:.3f}"
    yield "no control" if control is None else figure_text(control["gIoU_above_control"], sign="+")
    yield ", ".join(figure_text(figures[n]) for n in ("N-acc", "T-acc") if n in figures) or "-"
    yield str(figures["targets"])
    yield "yes" if score["target_list"]["compared_with"] else "no"


def _markdown_row(cells: Sequence[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(escape_markdown(c) if escape else c for c in cells)} |"
