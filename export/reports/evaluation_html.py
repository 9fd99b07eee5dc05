"""An evaluation's report as one HTML file, with its charts and image strips inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from hlmat.export.reports.evaluation_report import figure_notes, figure_rows
from hlmat.export.reports.html_page import escaped, html_figure, html_page, html_table

_STRIP_QUALITY = 85


def render_html(
    figures: Mapping[str, Any],
    *,
    title: str,
    settings: Mapping[str, object],
    charts: Mapping[str, bytes],
    strips: Mapping[str, bytes],
    tables: Mapping[str, tuple[Sequence[str], Iterable[Sequence[object]]]] | None = None,
) -> bytes:
    """Return a report as an HTML file that loads nothing.

    Args:
        figures: of `Summary.figures`, with `SPC` and `targets`.
        title: of the page.
        settings: of the run, by label.
        charts: PNG files by title.
        strips: PNG files by caption; they are embedded as JPEG.
        tables: further tables by heading, each with its head and its rows.
    """
    parts = [
        html_table(("setting", "value"), settings.items()),
        "<h2>Figures</h2>",
        html_table(("figure", "value", "95 % interval"), figure_rows(figures)),
        *(f"<p>{escaped(note)}</p>" for note in figure_notes(figures)),
    ]
    for heading, (head, rows) in (tables or {}).items():
        parts += [
            f"<h2>{escaped(heading)}</h2>",
            '<div class="wide">',
            html_table(head, rows),
            "</div>",
        ]
    if charts:
        shown = [html_figure(name, data, "png") for name, data in charts.items()]
        parts += ["<h2>Charts</h2>", '<div class="charts">', *shown, "</div>"]
    if strips:
        parts.append("<h2>Worst and best targets</h2>")
        parts += [html_figure(name, _as_jpeg(data), "jpeg") for name, data in strips.items()]
    return html_page(title, parts)


def _as_jpeg(png: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _STRIP_QUALITY])[1].tobytes()
