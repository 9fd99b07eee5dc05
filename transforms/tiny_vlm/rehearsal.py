"""How long a pre-training of the small model will take, from steps made for the purpose."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hlmat.transforms.core.durations import rough_duration
from hlmat.transforms.tiny_vlm.options import PretrainingOptions

if TYPE_CHECKING:
    from hlmat.transforms.tiny_vlm.pretraining import Pretraining
    from hlmat.transforms.tiny_vlm.scenes import LabelledScenes

LEAST_STEPS = 100
"""Below this many steps an estimate is not worth its time."""

_ROUNDS = 2


@dataclass(frozen=True)
class StepSeconds:
    """The seconds of one step.

    Attributes:
        tower: of the vision tower alone; 0 if none is left.
        texts: with texts; 0 if none is left.
    """

    tower: float
    texts: float


def measure_steps(
    pretraining: Pretraining,
    scenes: LabelledScenes,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> StepSeconds:
    """Time steps of both kinds, as far as they are still ahead, and undo them.

    The state afterwards is that before, so the trained weights do not depend on this.

    Args:
        pretraining: at any step.
        scenes: of the training.
        clock: returns seconds.
    """
    o, kept = pretraining.options, copy.deepcopy(pretraining.state())
    tower, texts = steps_left(pretraining.step, o)

    def seconds(step: int) -> float:
        started = 0.0
        # The first one also prepares what the others use.
        for number in range(1 + _ROUNDS):
            if number == 1:
                started = clock()
            pretraining.step = step
            pretraining.update(scenes)
        return (clock() - started) / _ROUNDS

    try:
        return StepSeconds(
            tower=seconds(min(o.tower_steps, o.steps) - 1) if tower else 0.0,
            texts=seconds(o.steps - 1) if texts else 0.0,
        )
    finally:
        pretraining.restore(kept)


def steps_left(step: int, options: PretrainingOptions) -> tuple[int, int]:
    """Return how many steps of the tower alone and how many with texts follow `step` updates."""
    turn = min(options.tower_steps, options.steps)
    return max(0, turn - step), options.steps - max(step, turn)


def say_time_left(seconds: StepSeconds, *, step: int, options: PretrainingOptions) -> str:
    """Return a sentence on the time that all steps after `step` updates will take."""
    tower, texts = steps_left(step, options)
    parts = []
    if tower:
        parts.append(f"{tower:,} of the vision tower alone at {seconds.tower:.2f} s")
    if texts:
        parts.append(f"{texts:,} with texts at {seconds.texts:.2f} s")
    total = tower * seconds.tower + texts * seconds.texts
    return f"{tower + texts:,} steps, {' and '.join(parts)}: about {rough_duration(total)}"
