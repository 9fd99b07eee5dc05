"""Turn errors of steps back into exceptions in the process that started the job.

A runner passes on a step's exception as text: the type is lost, and a traceback often surrounds the
message. So a step encodes its error in the text in a form that can be found there.

Beam's local engine passes it on only when the other workers have finished all that they were given,
so a worker of that engine also leaves it in a file for the job to find.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hlmat.transforms.core.errors import (
    ConfigError,
    DataError,
    HlmatError,
    OutputError,
    SegmenterError,
)

FAULT_VARIABLE = "HLMAT_WORKER_FAULT"
"""Environment variable with the file in which a worker process leaves the error that ends it."""

_MARK = re.compile(r"<hlmat fault ([A-Za-z0-9+/=]+)>")
_KINDS: tuple[type[HlmatError], ...] = (ConfigError, OutputError, SegmenterError, DataError)


class StepError(Exception):
    """A step's error on its way to the process that started the job."""


@contextmanager
def carried_errors() -> Iterator[None]:
    """Raise the project's errors and file errors in a form that survives any runner.

    Raises:
        StepError: one of these errors was raised in the body.
    """
    try:
        yield
    except (HlmatError, OSError, MemoryError) as error:
        text = f"{_text(error)} <hlmat fault {_encoded(error)}>"
        _leave(text)
        raise StepError(text) from error


def carried_error(error: BaseException) -> HlmatError | OSError | MemoryError | None:
    """Return the error that a step raised, or `error` itself if it is of one of these types.

    None for every other error.
    """
    found = _decoded(str(error))
    if found is None and isinstance(error, HlmatError | OSError | MemoryError):
        return error
    return found


def _leave(text: str) -> None:
    if (path := os.environ.get(FAULT_VARIABLE)) is None:
        return
    # Beam reports it, too, if later.
    with suppress(OSError):
        with open(f"{path}.tmp", "w", encoding="utf-8", errors="backslashreplace") as f:
            f.write(text)
        os.replace(f"{path}.tmp", path)


def _encoded(error: HlmatError | OSError | MemoryError) -> str:
    content: dict[str, object] = {"kind": type(error).__name__, "text": _text(error)}
    for kind in _KINDS:
        if isinstance(error, kind):
            content["kind"] = kind.__name__
    if isinstance(error, ConfigError):
        content["problems"] = list(error.problems)
    if isinstance(error, OSError):
        content |= {"kind": "OSError", "errno": error.errno, "filename": _name(error.filename)}
        content["text"] = error.strerror or str(error)
    return base64.b64encode(json.dumps(content).encode()).decode("ascii")


def _decoded(text: str) -> HlmatError | OSError | MemoryError | None:
    found = _MARK.search(text)
    if found is None:
        return None
    try:
        content = json.loads(base64.b64decode(found[1], validate=True))
        kind, message = content["kind"], str(content["text"])
        if kind == "OSError":
            number = content["errno"]
            return (
                OSError(message)
                if number is None
                else OSError(number, message, content["filename"])
            )
        if kind == "MemoryError":
            return MemoryError(message)
        if kind == "ConfigError":
            return ConfigError([str(problem) for problem in content["problems"]])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    by_name = {k.__name__: k for k in _KINDS}
    return by_name.get(kind, HlmatError)(message)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _name(filename: object) -> str | None:
    return None if filename is None else str(filename)
