"""What loading a checkpoint with transformers needs, whatever the model is for."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing progress bars and warnings; put back how that was set."""
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
    """Return at most one phrase that counts keys and names a few.

    >>> list_keys({"a", "b", "c", "d"}, what="missing")
    ['4 tensors missing (a, b, c, ...)']
    """
    if not keys:
        return []
    few = ", ".join(sorted(keys)[:3]) + (", ..." if len(keys) > 3 else "")
    return [f"{len(keys)} tensors {what} ({few})"]


def first_line(error: Exception) -> str:
    """Return an error of a library in one line of at most 300 characters and its kind.

    >>> first_line(ValueError("no such\\nthing"))
    'ValueError: no such thing'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
