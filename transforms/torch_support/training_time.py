"""Say how long a training of transformers will take, once its first steps are made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from hlmat.transforms.core.durations import rough_duration

_MOST_STEPS, _LEAST_STEPS = 10, 3
_SHARE = 20
"""Of a training between them, one step in so many is measured."""


class TrainingTime(TrainerCallback):
    """Writes one line with the time of a step and of the rest.

    The first step is not counted, because it also prepares what the others use. Measured are the
    next ten, or fewer in a short training.

    Args:
        write: receives the line.
        clock: returns seconds.
    """

    def __init__(
        self, write: Callable[[str], object], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._write, self._clock = write, clock
        self._first: tuple[int, float] | None = None
        self._is_said = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time, and write the line when enough steps are made."""
        if self._is_said or not state.is_world_process_zero:
            return
        if self._first is None:
            self._first = state.global_step, self._clock()
            return
        first, started = self._first
        count, left = state.global_step - first, state.max_steps - state.global_step
        if not left or count < min(_MOST_STEPS, max(_LEAST_STEPS, state.max_steps // _SHARE)):
            return
        self._is_said = True
        each = (self._clock() - started) / count
        self._write(
            # The progress bar is on this line.
            f"\na step takes {each:.2f} s: about {rough_duration(each * left)} "
            f"for the other {left} of {state.max_steps} steps\n"
        )
