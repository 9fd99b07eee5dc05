"""Where an exception was raised, as the end of a message."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

_SHOWN_CHARACTERS = 120
_IMPORTERS = ("<frozen ", importlib.__file__)


def error_place(error: BaseException, *, owner: object = None, caller: str | None = None) -> str:
    """Return " (file.py, line 3: text of the line)"; "" for an exception that was not raised.

    The line is the last one of the traceback that lies in the module of `owner`, or of all if there
    is none. Files go by their name alone, so that messages are the same on every machine.

    Args:
        error: the exception.
        owner: an instance or class of the code to blame.
        caller: the file that called it; errors raised there get no place.
    """
    walked = traceback.walk_tb(error.__traceback__)
    ignored = _IMPORTERS if caller is None else (*_IMPORTERS, caller)
    frames = [f for f in walked if not f[0].f_code.co_filename.startswith(ignored)]
    if not frames:
        return ""
    owner_class = owner if isinstance(owner, type) else type(owner)
    module = sys.modules.get(owner_class.__module__)
    file = getattr(module, "__file__", None)
    owned = [f for f in frames if f[0].f_code.co_filename == file]
    frame, number = (owned or frames)[-1]
    summary = traceback.FrameSummary(
        frame.f_code.co_filename, number, frame.f_code.co_name, lookup_line=True
    )
    name = os.path.basename(summary.filename)
    line = (summary.line or "")[:_SHOWN_CHARACTERS]
    return f" ({name}, line {number}: {line})" if line else f" ({name}, line {number})"
