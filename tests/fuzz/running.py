"""One fuzz target: a parser, inputs that are nearly right, and the errors that it may raise."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hlmat.transforms.core.errors import HlmatError

CORPUS = Path(__file__).parent / "corpus"
SECONDS = float(os.environ.get("HLMAT_FUZZ_SECONDS", "20"))
"""For all targets together."""
FIRST_SEED = int(os.environ.get("HLMAT_FUZZ_SEED", "0"))
_PROCESSOR_SECONDS_FOR_ONE_INPUT = 20
_SECONDS_FOR_ONE_INPUT = 300
"""On the clock: other work on the machine must not look like an input without end."""
_INPUTS_AT_ONCE = 50


@dataclass(frozen=True)
class Target:
    """A parser to be fuzzed.

    Attributes:
        name: also that of its folder in the corpus, whose files are tried first.
        run: takes one input; anything it raises but `expected` is a bug.
        valid: an input that is read.
        inputs: generates inputs.
        expected: errors that a bad input may raise.
    """

    name: str
    run: Callable[[bytes], object]
    valid: bytes
    inputs: st.SearchStrategy[bytes]
    expected: tuple[type[Exception], ...] = field(default=(HlmatError,))

    def try_input(self, data: bytes) -> None:
        """Run the parser on an input; raise what it should not have raised."""
        with _limited(), suppress(*self.expected):
            self.run(data)


def fuzz(target: Target, *, seconds: float) -> int:
    """Try inputs for some seconds; return how many.

    Rounds of seeds one after another: without `HLMAT_FUZZ_SEED` each call tries the same inputs in
    the same order.
    """
    files = corpus_of(target.name)
    for data in files:
        target.try_input(data)
    count = len(files)
    ends_s = time.monotonic() + seconds
    number = 0
    while number == 0 or time.monotonic() < ends_s:

        @seed(FIRST_SEED + number)
        @settings(
            max_examples=_INPUTS_AT_ONCE,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.filter_too_much,
            ],
        )
        @given(target.inputs)
        def try_some(data: bytes) -> None:
            nonlocal count
            count += 1
            target.try_input(data)

        try_some()
        number += 1
    return count


def corpus_of(name: str) -> Sequence[bytes]:
    """Return the files that a target is tried on first: what once went wrong."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


@contextmanager
def _limited() -> Iterator[None]:
    """Raise TimeoutError for an input that takes for ever, where the system can tell."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def give_up(*_: object) -> None:
        raise TimeoutError("this input takes too long")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, _PROCESSOR_SECONDS_FOR_ONE_INPUT),
        signal.SIGALRM: (signal.ITIMER_REAL, _SECONDS_FOR_ONE_INPUT),
    }
    before = {number: signal.signal(number, give_up) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
