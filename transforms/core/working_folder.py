"""Keep the working folder while foreign code runs; research code likes to change it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def same_working_folder() -> Iterator[None]:
    """Return to the present working folder after the block, so that relative paths still hold."""
    try:
        before = os.getcwd()
    except FileNotFoundError:  # it was removed, and nothing relative to it can be meant
        yield
        return
    try:
        yield
    finally:
        os.chdir(before)
