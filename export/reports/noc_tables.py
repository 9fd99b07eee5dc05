"""The tables of interactive segmentation papers: NoC by IoU, and IoU by click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.reports.evaluation_report import escape_markdown, figure_text
from hlmat.transforms.metrics.click_curves import NOC_CLICKS

SHOWN_CLICKS = (1, 2, 3, 5, 10, 15, 20)
NOC_NOTE = (
    f"≥{NOC_CLICKS}@P counts the targets that need {NOC_CLICKS} clicks or more for an IoU of P %, "
    f"as RITM prints it; NoF@P counts only those that {NOC_CLICKS} clicks do not bring there."
)


def render_noc_tables(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return Markdown tables of runs by the protocol noc20, a row for each.

    Args:
        runs: figures as in metrics.json, by name; all with the same IoUs.
    """
    return "\n".join([_table(*noc_rows(runs)), "", _table(*iou_rows(runs)), "", NOC_NOTE])


def noc_rows(runs: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table by IoU: NoC, the targets at the limit, NoF, SPC."""
    percents = list(next(iter(runs.values()))["at_limit"])
    head = [
        "run",
        *(f"NoC@{p}" for p in percents),
        *(f"≥{NOC_CLICKS}@{p}" for p in percents),
        *(f"NoF@{p}" for p in percents),
        "SPC, s",
        "targets",
    ]
    rows = [
        [
            name,
            *(figure_text(figures["NoC"][f"NoC@{p}"], digits=2) for p in percents),
            *(str(figures["at_limit"][p]) for p in percents),
            *(str(figures["NoF"][f"NoF@{p}"]["value"]) for p in percents),
            "not measured" if figures["SPC"] is None else f"{figures['SPC']:.3f}",
            str(figures["measured"]),
        ]
        for name, figures in runs.items()
    ]
    return head, rows


def iou_rows(runs: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table by click: mean IoU and mean boundary IoU."""
    groups = {"mIoU": "IoU@k", "boundary IoU": "boundary_IoU@k"}
    head = ["run", *(f"{label}@{k}" for label in groups for k in SHOWN_CLICKS)]
    rows = [
        [
            name,
            *(
                f"{figures[key][k - 1]['value']:.3f}"
                for key in groups.values()
                for k in SHOWN_CLICKS
            ),
        ]
        for name, figures in runs.items()
    ]
    return head, rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell if row[0] == '---' else escape_markdown(cell) for cell in row)} |"
        for row in lines
    )
