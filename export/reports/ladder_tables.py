"""A ladder's figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hlmat.export.reports.evaluation_report import figure_text
from hlmat.transforms.metrics.bootstrap import METHOD

_Figures = Mapping[str, Any]


def render_ladder(report: _Figures) -> str:
    """Return every table for which the ladder has figures.

    Args:
        report: the figures of `hlmat ladder`: by set, `rungs` and `steps`, and where requested
            `own_finish`, `controls`, `reinforcement`, `searches`, `filter`, `refine`,
            `initial_actions`, `codecs` and `mask_colours`; and `processor_minutes` by training.
    """
    sets: Mapping[str, _Figures] = report["sets"]
    parts = [
        _comparisons(sets, "rungs", "Rungs (figure 4)", "rung", "the rung before"),
        _comparisons(
            sets,
            "own_finish",
            "The stop by the score against the model's own Finish",
            "rung",
            "the own Finish",
        ),
        _comparisons(
            sets,
            "controls",
            "The text that the first model is given",
            "expression",
            "its own expression",
        ),
        _table(
            "Reinforcement learning, own Finish",
            (
                *("model", "gIoU", "cIoU", "IoU compared", "", "clicks", "clicks compared", ""),
                *("targets", "images"),
            ),
            _rows(sets, "reinforcement", _reinforcement_row),
        ),
        _processor_time(report.get("processor_minutes", {})),
        _comparisons(
            sets,
            "searches",
            "Clicks tried in each state, with the same stop",
            "search",
            "no search",
        ),
        _table(
            "Number of clicks, without and with the model's own score (table 2)",
            (
                *("at most clicks", "last mask, gIoU", "best-scored mask, gIoU"),
                *("difference", "", "gIoU with perfect scores"),
                *("last mask, cIoU", "best-scored mask, cIoU", "targets", "images"),
            ),
            _rows(sets, "steps", _step_row),
        ),
        _table(
            "Scores of corrupted masks (table 3)",
            (
                *("IoU of the masks", "masks", "images", "without score"),
                *("MAE", "MSE", "Pearson", "Spearman"),
            ),
            _rows(sets, "filter", _filter_row),
        ),
        _table(
            "Corrupted masks kept at each score or above; good masks have at least that IoU",
            ("score", "masks", "good", "kept", "precision", "recall", "share of good masks"),
            _rows(_keeping(sets), "keeping", _keeping_row),
        ),
        _table(
            "Corrupted masks, refined",
            ("IoU of the masks", "masks", "images", "IoU before", "IoU after", "gain", ""),
            _rows(sets, "refine", _refine_row),
        ),
        _comparisons(
            sets,
            "initial_actions",
            "Initial action (table 5)",
            "initial action",
            "the recipe's own",
        ),
        _comparisons(sets, "codecs", "Coordinates (table 6)", "codec", "SFT, greedy"),
        _comparisons(sets, "mask_colours", "Mask colour", "colour", "SFT, greedy"),
    ]
    remarks = (
        f"{METHOD}. A difference is the mean over the targets that both have; it rises or falls "
        "where its interval excludes 0."
    )
    return "\n".join([*(part for part in parts if part), remarks]) + "\n"


def _table(title: str, head: Sequence[str], rows: Iterator[Sequence[str]]) -> str | None:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return None
    columns = ("set", *head)
    rule = "|" + "---|" * len(columns)
    return "\n".join([f"### {title}", "", f"| {' | '.join(columns)} |", rule, *lines, ""])


def _comparisons(
    sets: Mapping[str, _Figures], key: str, title: str, first: str, against: str
) -> str | None:
    """Return a table of evaluations, each compared with another one.

    Args:
        key: of the rows in a set's figures.
        title: of the table.
        first: head of the column that names the rows.
        against: what they are compared with.
    """
    head = (
        *(first, "gIoU", "cIoU", f"IoU compared with {against}", "", "invalid answers"),
        *("clicks", "model calls", "segmenter calls", "targets", "images"),
    )
    return _table(title, head, _rows(sets, key, _comparison_row))


def _rows(
    sets: Mapping[str, _Figures], key: str, row: Callable[[_Figures], Sequence[str]]
) -> Iterator[Sequence[str]]:
    """Return the rows of every set that has such figures, set by set."""
    for name, figures in sets.items():
        found = figures.get(key)
        if found is None:
            continue
        for each in [found] if isinstance(found, Mapping) else found:
            yield (name, *row(each))


def _keeping(sets: Mapping[str, _Figures]) -> Mapping[str, _Figures]:
    """Return the rows of each set's filter, by minimum score."""
    return {
        name: {"keeping": figures["filter"].get("keeping", ())}
        for name, figures in sets.items()
        if "filter" in figures
    }


def _comparison_row(figures: _Figures) -> tuple[str, ...]:
    calls = ("clicks_per_target", "model_calls_per_target", "decoder_calls_per_target")
    return (
        figures["label"],
        _figure(figures["gIoU"]),
        _figure(figures["cIoU"]),
        *_difference(figures["difference"]),
        f"{100 * figures['invalid_rate']['value']:.1f} %" if "invalid_rate" in figures else "",
        *(f"{figures[name]['value']:.2f}" if name in figures else "" for name in calls),
        str(figures["measured"]),
        str(figures["images"]),
    )


def _reinforcement_row(figures: _Figures) -> tuple[str, ...]:
    return (
        figures["label"],
        _figure(figures["gIoU"]),
        _figure(figures["cIoU"]),
        *_difference(figures["difference"]),
        f"{figures['clicks_per_target']['value']:.2f}",
        *_difference(figures["clicks_difference"], digits=2),
        str(figures["measured"]),
        str(figures["images"]),
    )


def _processor_time(minutes: Mapping[str, float]) -> str | None:
    """Return a sentence on what the trainings took."""
    if not minutes:
        return None
    names = {"first": "base model, data and SFT", "star-plus": "StaR+", "grpo": "GRPO"}
    parts = [f"{names[name]} {minutes[name]:.1f}" for name in names if name in minutes]
    return f"Processor time of the trainings in minutes: {', '.join(parts)}.\n"


def _step_row(figures: _Figures) -> tuple[str, ...]:
    last, best = figures["last"], figures["best_scored"]
    return (
        str(figures["clicks"]),
        _figure(last["gIoU"]),
        _figure(best["gIoU"]),
        *_difference(figures["difference"]),
        _figure(figures["perfect"]),
        _figure(last["cIoU"]),
        _figure(best["cIoU"]),
        str(figures["targets"]),
        str(figures["images"]),
    )


def _filter_row(figures: _Figures) -> tuple[str, ...]:
    calibration = figures.get("score_calibration") or {}
    masks = figures["kept"] + figures["doubtful"]
    errors = [_figure(calibration.get(name), digits=1) for name in ("MAE", "MSE")]
    agreement = [_figure(calibration.get(name)) for name in ("Pearson", "Spearman")]
    counts = (str(masks), str(figures["images"]), str(figures["unreadable"]))
    return (figures["corrupt"], *counts, *errors, *agreement)


def _keeping_row(figures: _Figures) -> tuple[str, ...]:
    return (
        f"{figures['keep_at']:g}",
        str(figures["masks"]),
        *(str(figures[name]) for name in ("good", "kept")),
        *(_figure(figures[name]) for name in ("precision", "recall", "share")),
    )


def _refine_row(figures: _Figures) -> tuple[str, ...]:
    return (
        figures["corrupt"],
        str(figures["changed"] + figures["unchanged"]),
        str(figures["images"]),
        _figure(figures["IoU_before"]),
        _figure(figures["IoU_after"]),
        *_difference(figures["gain"]),
    )


def _difference(difference: _Figures | None, *, digits: int = 3) -> tuple[str, str]:
    if difference is None:
        return "", ""
    return _figure(difference, digits=digits, sign="+"), difference["change"]


def _figure(figure: Mapping[str, Any] | None, *, digits: int = 3, sign: str = "") -> str:
    """Return a figure with its interval, or "none" for one that does not exist."""
    return "none" if figure is None else figure_text(figure, digits=digits, sign=sign)
