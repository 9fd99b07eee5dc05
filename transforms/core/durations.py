"""Durations in words, for messages."""

from __future__ import annotations

_MINUTE, _HOUR = 60, 3600


def rough_duration(seconds: float) -> str:
    """Return a duration as a reader would say it.

    >>> [rough_duration(s) for s in (0.4, 61, 125, 7500)]
    ['1 second', '61 seconds', '2 minutes', '2.1 hours']
    """
    if seconds < 2 * _MINUTE:
        whole = max(1, round(seconds))
        return f"{whole} second{'s' if whole > 1 else ''}"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} minutes"
    return f"{seconds / _HOUR:.1f} hours"
