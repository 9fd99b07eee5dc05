"""Helpers for loading checkpoints with transformers: silence, and readable errors."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence progress bars and warnings of transformers; restore both on exit."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def list_keys(keys: Collection[str], *, what: str) -> list[str]:
    """Return one phrase that counts keys and names the first three; nothing without keys.

    >>> list_keys({"a", "b", "c", "d"}, what="missing")
    ['4 tensors missing (a, b, c, ...)']
    """
    if not keys:
        return []
    few = ", ".join(sorted(keys)[:3]) + (", ..." if len(keys) > 3 else "")
    return [f"{len(keys)} tensors {what} ({few})"]


def misfits(report: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each way in which weights do not fit the model they were loaded into.

    Args:
        report: from `from_pretrained(..., ignore_mismatched_sizes=True, output_loading_info=True)`.
    """
    mismatched = [
        f"{name} is {tuple(found)}, expected {tuple(expected)}"
        for name, found, expected in report["mismatched_keys"]
    ]
    return [
        *list_keys(report["missing_keys"], what="missing"),
        *list_keys(report["unexpected_keys"], what="not part of the model"),
        *list_keys(mismatched, what="of another shape"),
    ]


def first_line(error: Exception) -> str:
    """Return a library's error as one line: its type and at most 300 characters.

    >>> first_line(ValueError("no such\\nthing"))
    'ValueError: no such thing'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
