"""The errors of the project, one tree.

HlmatError
├── ConfigError        what was asked for cannot be run; all problems at once
├── DataError          input that is not as it should be
│   ├── LayoutError      a data set folder is not laid out as expected
│   └── TargetError      one target cannot be used; becomes a counted reject
├── SegmenterError     a segmenter failed or broke its protocol
├── AnswerError        a model or its server cannot answer
└── OutputError        output cannot be written, or must not be mixed with what is there
    └── IncompleteError  a run ended with units missing; running it again takes them up
"""

from __future__ import annotations

from collections.abc import Sequence

from hlmat.transforms.core.records import RejectReason


class HlmatError(Exception):
    """The base of every error that the project raises on purpose."""


class ConfigError(HlmatError):
    """What was asked for cannot be run.

    Args:
        problems: one sentence per problem; all of them, not the first alone.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class DataError(HlmatError):
    """Input that is not as it should be."""


class LayoutError(DataError):
    """A data set folder is not laid out as expected."""


class TargetError(DataError):
    """One target cannot be used. Whoever works through targets turns it into a `Reject`."""

    def __init__(self, reason: RejectReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")

    def __reduce__(self) -> tuple[type[TargetError], tuple[RejectReason, str]]:
        return type(self), (self.reason, self.message)


class SegmenterError(HlmatError):
    """A segmenter failed or broke its protocol."""


class AnswerError(HlmatError):
    """A model or its server cannot answer; what was asked can be asked again."""


class OutputError(HlmatError):
    """Output cannot be written, or must not be mixed with what is there."""


class IncompleteError(OutputError):
    """A run ended with units missing; running it again takes them up."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception of any framework means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
