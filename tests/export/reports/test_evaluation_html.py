"""The report of an evaluation as one HTML file."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np

from hlmat.export.reports.evaluation_html import render_html

PNG = cv2.imencode(".png", np.full((4, 6, 3), 200, np.uint8))[1].tobytes()
HOSTILE = "<script>window.hacked=1</script>\x1b[2J"


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def report(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "figures": {
            "gIoU": interval(0.7),
            "stop_reasons": {HOSTILE: {"value": 4, "low": 2.0, "high": 6.0}},
            "targets": 12,
            "images": 30,
        },
        "title": "Evaluation",
        "settings": {"policy": HOSTILE},
        "charts": {"IoU by step": PNG},
        "strips": {"worst, 1": PNG},
        **changes,
    }
    return render_html(arguments.pop("figures"), **arguments).decode()


class Reading(HTMLParser):
    """Collects what a file loads, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.lasttag == "td":
            self.cells[-1] += data.strip()


def test_figures_and_settings_are_in_tables() -> None:
    cells = Reading(report()).cells
    place = cells.index("gIoU")
    assert cells[place : place + 3] == ["gIoU", "0.700", "0.600 to 0.800"]
    assert cells[0] == "policy"


def test_images_are_inside_the_file() -> None:
    found = Reading(report())
    kinds = [source.partition(";base64,")[0] for source in found.sources]
    assert kinds == ["data:image/png", "data:image/jpeg"]
    assert base64.b64decode(found.sources[0].partition(",")[2]) == PNG


def test_texts_from_data_are_never_markup() -> None:
    text = report()
    assert "script" not in Reading(text).tags
    assert "\x1b" not in text
    assert "<script>window.hacked=1</script>" in "".join(Reading(text).cells)


def test_the_file_may_load_nothing() -> None:
    policy = re.search(r'Policy" content="([^"]+)"', report())
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_a_report_without_images_has_no_such_sections() -> None:
    assert "<h2>Charts" not in report(charts={})
    assert "<h2>Worst" not in report(strips={})
