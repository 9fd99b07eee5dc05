"""A watchdog for calls of foreign code, which may never return.

Python cannot end a call from outside, so a thread watches the calls under way, and when one takes
too long the process gives up: it tells the job that is waiting for it, or ends with a sentence. The
thread needs the interpreter's lock: compiled code that holds it forever cannot be detected.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

EXIT_STALLED = 5
"""Of a process that ends itself: units are missing, as after any worker's death."""
NOTE_VARIABLE = "HLMAT_WORKER_NOTE"
"""Environment variable with the file in which a worker process leaves its last sentence."""


@dataclass(frozen=True)
class _Call:
    what: Callable[[], str]
    ends_s: float
    limit_s: float
    thread: int


@dataclass
class Watchdog:
    """Watches calls; a call past its limit is reported once.

    Attributes:
        limit_s: of one item of a call, in seconds; None watches nothing.
        advice: how the report ends.
    """

    limit_s: float | None
    advice: str
    _calls: dict[int, _Call] = field(default_factory=dict, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @contextlib.contextmanager
    def watch(self, what: Callable[[], str], *, items: int = 1) -> Iterator[None]:
        """Watch the call within the block.

        Args:
            what: says who was asked for what; called only for the report.
            items: that the call works on; each adds the limit.
        """
        if self.limit_s is None:
            yield
            return
        limit_s = self.limit_s * max(items, 1)
        call = _Call(what, time.monotonic() + limit_s, limit_s, threading.get_ident())
        with self._changed:
            self._calls[id(call)] = call
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._calls.pop(id(call), None)

    def _run(self) -> None:
        while True:
            with self._changed:
                calls = list(self._calls.values())
                left_s = min((call.ends_s for call in calls), default=None)
                if left_s is not None:
                    left_s = max(left_s - time.monotonic(), 0.0)
                if left_s != 0.0:
                    self._changed.wait(left_s)
                    continue
                late = [call for call in calls if call.ends_s <= time.monotonic()]
                for call in late:
                    del self._calls[id(call)]
            for call in late:
                _report(
                    f"{call.what()} has not returned for {call.limit_s:g} s"
                    f"{_place_in(call.thread)}; {self.advice}"
                )


def _place_in(thread: int) -> str:
    """Return where a thread is, as the end of a clause."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    here = traceback.extract_stack(frame)[-1]
    return f" (it is in {os.path.basename(here.filename)}, line {here.lineno})"


def _end_process(sentence: str) -> None:
    if note := os.environ.get(NOTE_VARIABLE):
        with open(f"{note}.tmp", "w", encoding="utf-8", errors="backslashreplace") as f:
            f.write(sentence)
        os.replace(f"{note}.tmp", note)
    else:
        sys.stderr.write(f"hlmat: error: {sentence}\n")
        sys.stderr.flush()
    os._exit(EXIT_STALLED)


_report: Callable[[str], None] = _end_process


@contextlib.contextmanager
def stalls_reported_to(report: Callable[[str], None]) -> Iterator[None]:
    """Report calls that do not return to a function instead of ending the process."""
    global _report
    before, _report = _report, report
    try:
        yield
    finally:
        _report = before
