"""Parts of reports that are one HTML file: everything is escaped, nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

from hlmat.transforms.core.visible_text import visible

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid #8886; }
td { overflow-wrap: anywhere; }
td:first-child { min-width: 6rem; }
.wide { overflow-x: auto; } .wide td { overflow-wrap: normal; white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; background: #fff; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
"""


def html_page(title: str, parts: Iterable[str]) -> bytes:
    """Return an HTML file that may run no script and load nothing.

    Args:
        title: of the page; it is escaped.
        parts: of its body, as markup.
    """
    style_digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{style_digest}'"
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escaped(title)}</h1>",
        *parts,
        "</body></html>",
    ]
    return ("\n".join(lines) + "\n").encode()


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; its cells are escaped."""
    cells = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    lines = [
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return "\n".join([f"<table><thead><tr>{cells}</tr></thead><tbody>", *lines, "</tbody></table>"])


def html_figure(name: str, data: bytes, kind: str) -> str:
    """Return an image with its caption, which is escaped.

    Args:
        name: the caption.
        data: the image file.
        kind: `png` or `jpeg`.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    caption = escaped(name)
    image = f'<img src="{source}" alt="{caption}">'
    return f"<figure><figcaption>{caption}</figcaption>{image}</figure>"


def escaped(value: object) -> str:
    """Return a value as text that cannot become markup, without control characters."""
    return html.escape(visible(str(value)))
