"""The learning curve of a training by rollouts, as a chart and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hlmat.export.reports.charts import new_axes, png

_PARTS = ("reward", "reward_iou", "reward_clicks", "reward_overshoot", "reward_invalid")
_COLUMNS = (
    *_PARTS,
    *("iou", "iou_after_first", "clicks", "finished", "invalid", "kl", "entropy", "clip_ratio"),
    "seconds",
)
_SMOOTHED = 5


def rl_chart(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw reward, IoU and divergence over the rounds, as a PNG.

    Args:
        lines: of the log, one per round; values are drawn as they are and as means of up to five
            rounds.
    """
    figure, axes = new_axes()
    rounds = [line["round"] for line in lines]
    for name, label in (
        ("reward", "reward"),
        ("iou", "final IoU"),
        ("iou_after_first", "IoU, 1 click"),
    ):
        values = [line[name] for line in lines]
        (drawn,) = axes.plot(rounds, _means(values), label=label)
        axes.plot(rounds, values, color=drawn.get_color(), alpha=0.25)
    axes.set_xlabel("round")
    axes.set_ylabel("mean of the rollouts, and of 5 rounds")
    axes.legend(loc="lower left")
    other = axes.twinx()
    other.plot(rounds, [line.get("kl", 0.0) for line in lines], color="grey", linestyle=":")
    other.set_ylabel("divergence from the start model (dotted)")
    return png(figure)


def render_rl(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the log as a Markdown table, one row per round; "" where a value is not known."""
    rows = ["| round | " + " | ".join(name.replace("_", " ") for name in _COLUMNS) + " |"]
    rows.append("|---" * (len(_COLUMNS) + 1) + "|")
    for line in lines:
        values = [f"{line[name]:.3f}" if name in line else "" for name in _COLUMNS]
        rows.append(f"| {line['round']} | " + " | ".join(values) + " |")
    return "\n".join(rows) + "\n"


def _means(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and of up to four before it."""
    return [float(np.mean(values[max(0, k + 1 - _SMOOTHED) : k + 1])) for k in range(len(values))]
