"""Ctrl-C: the first one ends the command in order, the second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from hlmat.pipelines.cli.exit_codes import EXIT_INTERRUPTED, INTERRUPTED, fail


class Interrupts:
    """What Ctrl-C does in a command.

    Attributes:
        seen: whether it was pressed. Libraries may turn the exception into another one.
    """

    def __init__(self) -> None:
        self.seen = False
        self._reported = False

    def install(self) -> None:
        """Take Ctrl-C over, unless the command is started with it ignored, as by `nohup`."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_interrupt)

    def report(self) -> int:
        """Print that the command was interrupted, once; return the exit code."""
        if not self._reported:
            self._reported = True
            fail([INTERRUPTED], EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            leave(self.report())
        self.seen = True
        raise KeyboardInterrupt


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads that still work."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        # A closed pipe or a full disk: nobody is left to read it.
        except (OSError, ValueError):
            continue
    os._exit(code)
