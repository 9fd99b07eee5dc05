"""Exit codes and error messages."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

EXIT_OK = 0
EXIT_BUG = 1
EXIT_CONFIG = 2
EXIT_DATA = 3
EXIT_OUTPUT = 4
EXIT_INCOMPLETE = 5
EXIT_REJECTS = 6
EXIT_INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0  done
  1  a bug: please report it with the traceback
  2  the command line or configuration is wrong; every problem is listed
  3  the input data cannot be read or has no targets
  4  the output cannot be written, or holds another run, or another run works there
  5  units died, a worker was killed, another runner failed, memory ran out, or too many
     targets were rejected; run again to resume
  6  hlmat rejects: there are some
  130  interrupted; run the same command again to resume
"""


INTERRUPTED = "interrupted; run the same command again to resume"


def fail(problems: Sequence[str], code: int) -> int:
    """Print problems to stderr, one per line, and return the exit code."""
    with contextlib.suppress(OSError):  # stderr on a full disk: the exit code has to do
        for problem in problems:
            print(f"hlmat: error: {problem}", file=sys.stderr)
    return code
