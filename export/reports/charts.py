"""Charts of evaluations as PNG files; the same figures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.metrics.click_curves import THRESHOLDS

_SIZE_INCHES = (8.0, 5.0)
_DPI = 100


def iou_by_step_chart(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Draw the mean IoU after each click, with the intervals as bands.

    Args:
        series: by name, the figure after 1, 2, ... clicks with its `value`, `low` and `high`.
    """
    figure, axes = new_axes()
    for name, points in series.items():
        clicks = np.arange(1, len(points) + 1)
        values, low, high = _with_limits(points).T
        axes.plot(clicks, values, marker="o", label=name)
        axes.fill_between(clicks, low, high, alpha=0.2)
    longest = max((len(points) for points in series.values()), default=1)
    axes.set_xticks(range(1, longest + 1))
    axes.set_ylim(0, 1)
    axes.set_xlabel("clicks (a rollout that ended keeps its last mask)")
    axes.set_ylabel("mean IoU, 95 % interval by image")
    axes.legend()
    return png(figure)


def noc_chart(
    iou_after_click: Sequence[Sequence[float]], *, thresholds: Sequence[float] = THRESHOLDS
) -> bytes:
    """Draw the share of targets that have reached an IoU after each number of clicks.

    Args:
        iou_after_click: for each target, the IoU after 0, 1, 2, ... clicks.
        thresholds: the IoUs.
    """
    figure, axes = new_axes()
    after = np.asarray(iou_after_click, dtype=np.float64)
    clicks = np.arange(after.shape[1])
    for threshold in thresholds:
        reached = np.maximum.accumulate(after >= threshold, axis=1).mean(axis=0)
        axes.step(clicks, reached, where="post", marker="o", label=f"IoU of {threshold:g}")
    axes.set_xticks(clicks)
    axes.set_ylim(0, 1)
    axes.set_xlabel("clicks")
    axes.set_ylabel("share of targets that have reached the IoU")
    axes.legend()
    return png(figure)


def reliability_chart(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Draw the true IoU of masks over the model's score of them.

    Args:
        series: by name, tenths of scores with their `count`, mean `predicted` and mean true `iou`.
    """
    figure, axes = new_axes()
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfect scores")
    for name, bins in series.items():
        scores, ious = [b["predicted"] for b in bins], [b["iou"] for b in bins]
        (line,) = axes.plot(scores, ious, marker="o", label=f"{name}, by tenths of the score")
        for score, iou, tenth in zip(scores, ious, bins, strict=True):
            axes.annotate(
                f"{tenth['count']:,}",
                (score, iou),
                (4, -12),
                textcoords="offset points",
                color=line.get_color(),
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("model's score, mean of the tenth")
    axes.set_ylabel("true IoU, mean of the tenth")
    axes.legend()
    return png(figure)


def learning_curve_chart(points: Sequence[tuple[int, Mapping[str, Any]]]) -> bytes:
    """Draw gIoU over the number of training targets.

    Args:
        points: number of targets, and gIoU with its `value`, `low` and `high`.
    """
    figure, axes = new_axes()
    ordered = sorted(points, key=lambda point: point[0])
    counts = [count for count, _ in ordered]
    values = _with_limits([figure for _, figure in ordered])
    spans = np.abs(values[:, 1:] - values[:, :1]).T
    axes.errorbar(counts, values[:, 0], yerr=spans, marker="o", capsize=4)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("training targets")
    axes.set_ylabel("held-out gIoU, 95 % interval by image")
    return png(figure)


def ladder_chart(series: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]) -> bytes:
    """Draw the gIoU of each rung of a ladder, one line per set of targets.

    Args:
        series: by set, the label of each rung, and its gIoU with `value`, `low` and `high`. All
            sets have the same rungs, but some may end earlier.
    """
    figure, axes = new_axes()
    longest = max(series.values(), key=len)
    labels = [label for label, _ in longest]
    for place, (name, rungs) in enumerate(series.items()):
        values = _with_limits([figure for _, figure in rungs])
        # Shifted so that intervals do not overlap.
        positions = np.arange(len(rungs)) + 0.08 * (place - (len(series) - 1) / 2)
        spans = np.abs(values[:, 1:] - values[:, :1]).T
        axes.errorbar(positions, values[:, 0], yerr=spans, marker="o", capsize=4, label=name)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_ylabel("held-out gIoU, 95 % interval by image")
    axes.legend()
    return png(figure)


def _with_limits(figures: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return value and limits of figures, all equal without an interval. Shape: (N, 3)."""
    return np.array(
        [
            [f["value"], *(f["value"] if f[key] is None else f[key] for key in ("low", "high"))]
            for f in figures
        ],
        dtype=np.float64,
    )


def missing_for_charts() -> str | None:
    """Return what charts need and is not installed; None if they can be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        return (
            f"charts need matplotlib ({error}); run `make install-train`, or pip install matplotlib"
        )
    return None


def new_axes() -> tuple[Any, Any]:
    """Return a new figure of matplotlib and its axes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if (problem := missing_for_charts()) is not None:
        raise ConfigError([problem])
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="tight")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def png(figure: Any) -> bytes:
    """Return a figure of matplotlib as a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
