"""The errors of the project, one tree.

HlmatError
├── ConfigError        the request cannot be run; lists every problem
├── DataError          malformed or missing input
│   ├── LayoutError      a data set folder does not have the expected layout
│   └── TargetError      one target cannot be used; becomes a counted reject
├── SegmenterError     a segmenter failed or broke its protocol
│   └── ServedSegmenterError  one failed on its server, which has worded it
├── AnswerError        a model, its server or a segmenter's server cannot answer
└── OutputError        output cannot be written, or would mix with other output
    └── IncompleteError  a run ended with units missing; running it again completes it
"""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.transforms.core.records import RejectReason


class HlmatError(Exception):
    """Base of every error that the project raises on purpose.

    >>> from hlmat import load_segmenter
    >>> try:
    ...     load_segmenter("grapcut")
    ... except HlmatError as error:
    ...     type(error).__name__
    'ConfigError'
    """


class ConfigError(HlmatError):
    """The request cannot be run.

    Args:
        problems: every problem, one sentence each.

    >>> ConfigError(["--workers 0: must be at least 1"]).problems
    ('--workers 0: must be at least 1',)
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class DataError(HlmatError):
    """Malformed or missing input.

    >>> from hlmat import read_trajectories
    >>> try:
    ...     next(read_trajectories("/no/such/folder"))
    ... except DataError:
    ...     "no run there"
    'no run there'
    """


class LayoutError(DataError):
    """A data set folder does not have the expected layout."""


class TargetError(DataError):
    """One target cannot be used; the caller turns it into a `Reject`."""

    def __init__(self, reason: RejectReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")

    def __reduce__(self) -> tuple[type[TargetError], tuple[RejectReason, str]]:
        return type(self), (self.reason, self.message)


class SegmenterError(HlmatError):
    """A segmenter failed or broke its protocol.

    >>> from hlmat import load_segmenter
    >>> try:
    ...     load_segmenter("graphcut").predict(clicks=[])
    ... except SegmenterError:
    ...     "no image was set"
    'no image was set'
    """


class ServedSegmenterError(SegmenterError):
    """A segmenter failed on its server; the message is the one that a run would record."""


class AnswerError(HlmatError):
    """A model, its server or a segmenter's server cannot answer; the same can be asked again."""


class OutputError(HlmatError):
    """Output cannot be written, or would mix with other output."""


class IncompleteError(OutputError):
    """A run ended with units missing; running it again completes it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of any framework means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
