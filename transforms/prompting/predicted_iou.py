"""The IoU that a model predicts for the mask shown, as text: ``Current IOU: 85.2`` (percent)."""

from __future__ import annotations

import re

PREDICTED_IOU_MARK = "Current IOU: "

_SEPARATOR = ", "
_PERCENT = r"([0-9]{1,3}(?:\.[0-9]+)?)"
_WHOLE = re.compile(PREDICTED_IOU_MARK + _PERCENT)
_LEADING = re.compile(PREDICTED_IOU_MARK + _PERCENT + _SEPARATOR)
_ANYWHERE = re.compile(PREDICTED_IOU_MARK + _PERCENT + r"(?![0-9.])")


def render_predicted_iou(iou: float) -> str:
    """Write an IoU in percent with one decimal.

    Args:
        iou: in [0, 1].

    Raises:
        ValueError: an IoU outside [0, 1].

    >>> render_predicted_iou(0.852)
    'Current IOU: 85.2'
    """
    if not 0 <= iou <= 1:
        raise ValueError(f"an IoU must be in [0, 1], got {iou}")
    return PREDICTED_IOU_MARK + render_percent(iou)


def render_percent(iou: float) -> str:
    """Write an IoU in [0, 1] in percent, without the words before it.

    >>> render_percent(0.852)
    '85.2'
    """
    return f"{100 * iou:.1f}"


def find_predicted_iou(text: str) -> tuple[int, int] | None:
    """Return where the number of the last predicted IoU begins and ends; None without one.

    >>> find_predicted_iou("Current IOU: 85.2, Finish")
    (13, 17)
    """
    found = list(_ANYWHERE.finditer(text))
    return found[-1].span(1) if found else None


def parse_predicted_iou(text: str) -> float:
    """Read what `render_predicted_iou` writes; any number of decimals is accepted.

    Raises:
        ValueError: anything else, or more than 100 percent.

    >>> parse_predicted_iou("Current IOU: 85.2")
    0.852
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {PREDICTED_IOU_MARK}<percent>, got {text!r}")
    return _fraction(match[1])


def join_predicted_iou(iou: float | None, action: str) -> str:
    """Put a predicted IoU before the text of an action; None leaves the action alone.

    >>> join_predicted_iou(0.852, "Finish")
    'Current IOU: 85.2, Finish'
    """
    return action if iou is None else render_predicted_iou(iou) + _SEPARATOR + action


def split_predicted_iou(text: str) -> tuple[float | None, str]:
    """Split an answer into the predicted IoU before the action, or None, and the action.

    Raises:
        ValueError: more than 100 percent.

    >>> split_predicted_iou("Current IOU: 85.2, Finish"), split_predicted_iou("Finish")
    ((0.852, 'Finish'), (None, 'Finish'))
    """
    match = _LEADING.match(text)
    return (None, text) if match is None else (_fraction(match[1]), text[match.end() :])


def last_predicted_iou(text: str | None) -> float | None:
    """Return the last predicted IoU in a text of any form; None without one or above 100 percent.

    >>> last_predicted_iou("So: Current IOU: 85.2 Positive point: (0.1, 0.2)")
    0.852
    """
    found = _ANYWHERE.findall(text or "")
    try:
        return _fraction(found[-1]) if found else None
    except ValueError:
        return None


def _fraction(percent: str) -> float:
    if float(percent) > 100:
        raise ValueError(f"the IoU is {percent}, expected 0 to 100 percent")
    return float(percent) / 100
