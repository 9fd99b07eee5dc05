"""The report on noise in ground truth and expressions: ranked targets with pictures, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hlmat.export.reports.html_page import escaped, html_figure, html_page, html_table
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.masks.rle import mask_box
from hlmat.transforms.prompting.overlay import draw_clicks, draw_outline

_SIDE = 480
_SMALLEST = 96
_MARGIN = 12
_QUALITY = 85
_DEFECT_RGB = (255, 0, 255)
_GREY = 128


@dataclass(frozen=True)
class NoiseEntry:
    """A target as the report shows it.

    Attributes:
        title: what it is called.
        findings: what was found, by kind.
        picture: a JPEG file; None without one.
    """

    title: str
    findings: Mapping[str, str]
    picture: bytes | None


def render_noise(
    entries: Sequence[NoiseEntry],
    *,
    title: str,
    counts: Mapping[str, tuple[int, str]],
    facts: Mapping[str, object],
) -> bytes:
    """Return the report as an HTML file that loads nothing.

    Args:
        entries: the worst first.
        title: of the page.
        counts: number of targets and the meaning of each kind of finding.
        facts: about the run, by label.
    """
    parts = [
        html_table(("run", ""), facts.items()),
        "<h2>Findings</h2>",
        html_table(
            ("kind", "targets", "meaning"),
            [(kind, count, meaning) for kind, (count, meaning) in counts.items()],
        ),
        f"<h2>The {len(entries)} targets with the strongest findings</h2>",
        "<p>Green: the outline of the ground truth. Magenta: its defects. Dots: the clicks.</p>",
    ]
    for number, entry in enumerate(entries, start=1):
        parts.append(f"<h3>{number}. {escaped(entry.title)}</h3>")
        parts.append(html_table(("finding", ""), entry.findings.items()))
        if entry.picture is not None:
            parts.append(html_figure(entry.title, entry.picture, "jpeg"))
    return html_page(title, parts)


def noise_picture(
    image: Image | None, truth: Mask, defects: Mask, clicks: Sequence[Click]
) -> bytes:
    """Draw the part of an image around a target, with its defects and clicks, as JPEG.

    Args:
        image: uint8 RGB; None draws on grey. Shape: (H, W, 3).
        truth: Shape: (H, W), bool.
        defects: Shape: (H, W), bool.
        clicks: of its trajectory.
    """
    if image is None:
        image = np.full((*truth.shape, 3), _GREY, np.uint8)
    rows, columns = _around(truth)
    shown = np.ascontiguousarray(image[rows, columns])
    scale = _SIDE / max(shown.shape[:2])
    size_wh = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    large: Image = cv2.resize(shown, size_wh, interpolation=smooth).astype(np.uint8)
    large = draw_outline(large, _scaled(truth[rows, columns], size_wh))
    large = np.ascontiguousarray(large)
    large[_scaled(defects[rows, columns], size_wh)] = _DEFECT_RGB
    places = [
        Click(
            int((click.x - columns.start + 0.5) * scale),
            int((click.y - rows.start + 0.5) * scale),
            click.is_positive,
        )
        for click in clicks
        if rows.start <= click.y < rows.stop and columns.start <= click.x < columns.stop
    ]
    drawn = draw_clicks(large, places, radius=4)
    bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _around(truth: Mask) -> tuple[slice, slice]:
    height, width = truth.shape
    box = mask_box(truth)
    if box is None:
        return slice(0, height), slice(0, width)

    def grown(low: int, high: int, limit: int) -> slice:
        more = max(_MARGIN, (_SMALLEST - (high - low)) // 2)
        return slice(max(0, low - more), min(limit, high + more))

    return grown(box.y0, box.y1, height), grown(box.x0, box.x1, width)


def _scaled(mask: Mask, size_wh: tuple[int, int]) -> Mask:
    """Scale a mask so that single pixels stay visible."""
    drawn = np.ascontiguousarray(mask).view(np.uint8) * 255
    smaller = size_wh[0] < mask.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return cv2.resize(drawn, size_wh, interpolation=way) > (0 if smaller else 127)
