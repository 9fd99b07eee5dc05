"""Helpers for loading checkpoints with transformers: silence, and readable errors."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager


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


def first_line(error: Exception) -> str:
    """Return a library's error as one line: its type and at most 300 characters.

    >>> first_line(ValueError("no such\\nthing"))
    'ValueError: no such thing'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
