"""Charts as inline SVG, which need no library: bars, a line with a band, a map of counts."""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.export.reports.html_page import escaped

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _FOOT = 48, 350, 12, 176
_COLOUR = "#3b82f6"
_MOST_LABELS = 10


def bar_chart(title: str, bars: Sequence[tuple[str, float]], *, x: str, y: str) -> str:
    """Return bars by label as markup.

    Args:
        title: of the chart.
        bars: label and height, at least 0.
        x: what the labels are.
        y: what the heights are.
    """
    most = max((height for _, height in bars), default=0) or 1
    pitch = (_RIGHT - _LEFT) / max(1, len(bars))
    every = -(-len(bars) // _MOST_LABELS) if bars else 1
    parts = [*_scale(most)]
    for place, (label, height) in enumerate(bars):
        left, tall = _LEFT + place * pitch, (_FOOT - _TOP) * height / most
        parts.append(
            f'<rect x="{left + 1:.1f}" y="{_FOOT - tall:.1f}" width="{max(1.0, pitch - 2):.1f}" '
            f'height="{tall:.1f}" fill="{_COLOUR}"><title>{escaped(label)}: '
            f"{_number(height)}</title></rect>"
        )
        if place % every == 0:
            parts.append(_text(left + pitch / 2, _FOOT + 14, label))
    described = ", ".join(f"{label}: {_number(height)}" for label, height in bars)
    return _chart(title, described, parts, x=x, y=y)


def band_chart(title: str, points: Sequence[tuple[float, float, float]], *, x: str, y: str) -> str:
    """Return a line from 0 to 1 with a band around it as markup.

    Args:
        title: of the chart.
        points: value, lower and upper end of the band, for x = 0, 1, 2, ...
        x: what the places are.
        y: what the values are.
    """
    step = (_RIGHT - _LEFT - 16) / max(1, len(points) - 1)

    def at(place: int, value: float) -> str:
        return f"{_LEFT + 8 + place * step:.1f},{_FOOT - (_FOOT - _TOP) * value:.1f}"

    there = [at(place, high) for place, (_, _, high) in enumerate(points)]
    back = [at(place, low) for place, (_, low, _) in reversed([*enumerate(points)])]
    line = [at(place, value) for place, (value, _, _) in enumerate(points)]
    every = -(-len(points) // _MOST_LABELS) if points else 1
    parts = [
        *_scale(1),
        f'<polygon points="{" ".join([*there, *back])}" fill="{_COLOUR}" opacity="0.25"/>',
        f'<polyline points="{" ".join(line)}" fill="none" stroke="{_COLOUR}" stroke-width="2"/>',
        *(
            _text(_LEFT + 8 + place * step, _FOOT + 14, str(place))
            for place in range(0, len(points), every)
        ),
    ]
    described = ", ".join(
        f"{place}: {value:.3f} ({low:.2f} to {high:.2f})"
        for place, (value, low, high) in enumerate(points)
    )
    return _chart(title, described, parts, x=x, y=y)


def count_map(title: str, rows: Sequence[Sequence[int]], *, x: str, y: str) -> str:
    """Return counts as cells, the darker the more, as markup.

    Args:
        title: of the chart.
        rows: counts from top to bottom, at least one, all of one length.
        x: what the columns are.
        y: what the rows are.
    """
    most = max((count for row in rows for count in row), default=0) or 1
    side = (_FOOT - _TOP) / len(rows)
    parts = []
    for place, row in enumerate(rows):
        for column, count in enumerate(row):
            parts.append(
                f'<rect x="{_LEFT + column * side:.1f}" y="{_TOP + place * side:.1f}" '
                f'width="{side:.1f}" height="{side:.1f}" fill="{_COLOUR}" '
                f'fill-opacity="{count / most:.3f}" stroke="#8886"><title>{count}</title></rect>'
            )
    described = "; ".join(" ".join(map(str, row)) for row in rows)
    return _chart(title, f"rows from top to bottom: {described}", parts, x=x, y=y)


def _chart(title: str, described: str, parts: Sequence[str], *, x: str, y: str) -> str:
    middle = (_LEFT + _RIGHT) / 2
    shapes = [*parts, _text(middle, _HEIGHT - 8, x), _text(_LEFT, 9, y, anchor="start")]
    label = escaped(f"{title}: {described}")
    return (
        f"<figure><figcaption>{escaped(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" '
        f'font-size="11" fill="currentColor">{"".join(shapes)}</svg></figure>'
    )


def _scale(most: float) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _FOOT - (_FOOT - _TOP) * share
        parts.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" stroke="#8886"/>')
        parts.append(_text(_LEFT - 4, y + 4, _number(share * most), anchor="end"))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
