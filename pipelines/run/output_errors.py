"""Turn what ends a job into an error of the project: a step's exception, a full disk, no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hlmat.transforms.beam.faults import carried_error
from hlmat.transforms.core.errors import HlmatError, IncompleteError, OutputError


@contextmanager
def output_errors(out: str) -> Iterator[None]:
    """Turn a step's exception, a full disk or a refused write into an error of the project."""
    try:
        yield
    except HlmatError:
        raise
    except Exception as error:
        fault = carried_error(error)
        if isinstance(fault, HlmatError):
            raise fault from error
        if isinstance(fault, OSError):
            where = f" ({fault.filename})" if fault.filename else ""
            raise OutputError(
                f"{out} cannot be written: {fault.strerror or fault}{where}; what is done is "
                "kept: make room or fix the permissions and run the same command again"
            ) from error
        if isinstance(fault, MemoryError):
            raise IncompleteError(
                f"memory ran out ({fault}); what is done is kept: use fewer --workers and run the "
                "same command again"
            ) from error
        raise
