"""An evaluation's report as one HTML file, with its charts and image strips inside."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from hlmat.export.reports.evaluation_report import figure_notes, figure_rows
from hlmat.transforms.core.visible_text import visible

_STRIP_QUALITY = 85
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid #8886; }
td { overflow-wrap: anywhere; }
.wide { overflow-x: auto; } .wide td { overflow-wrap: normal; white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; background: #fff; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
"""


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
    style_digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{style_digest}'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        _table(("setting", "value"), settings.items()),
        "<h2>Figures</h2>",
        _table(("figure", "value", "95 % interval"), figure_rows(figures)),
        *(f"<p>{_text(note)}</p>" for note in figure_notes(figures)),
    ]
    for heading, (head, rows) in (tables or {}).items():
        parts += [f"<h2>{_text(heading)}</h2>", '<div class="wide">', _table(head, rows), "</div>"]
    if charts:
        shown = [_figure(name, data, "png") for name, data in charts.items()]
        parts += ["<h2>Charts</h2>", '<div class="charts">', *shown, "</div>"]
    if strips:
        parts.append("<h2>Worst and best targets</h2>")
        parts += [_figure(name, _as_jpeg(data), "jpeg") for name, data in strips.items()]
    return ("\n".join([*parts, "</body></html>"]) + "\n").encode()


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    lines = ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([f"<table><thead><tr>{cells}</tr></thead><tbody>", *lines, "</tbody></table>"])


def _figure(name: str, data: bytes, kind: str) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    caption = _text(name)
    image = f'<img src="{source}" alt="{caption}">'
    return f"<figure><figcaption>{caption}</figcaption>{image}</figure>"


def _as_jpeg(png: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _STRIP_QUALITY])[1].tobytes()


def _text(value: object) -> str:
    return html.escape(visible(str(value)))
