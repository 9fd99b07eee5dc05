"""Measure how fast the environment steps, alone and vectorised, and the segmenter's share of it.

    python -m benchmarks.environment --steps 1000 --environments 2

Random positive and negative clicks on generated scenes, answered by the graph-cut segmenter; no
model is trained. A step counts only if it was a click: the reset after an episode's end takes time
but is not a step. OpenCV runs one thread per process; with `async` each environment has its own
process. Next to wall-clock time stands the processor time of all processes together, which does not
grow when others use the machine; the segmenter's share is a share of that.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from hlmat.transforms.core.protocols import Image, Prediction
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.envs.gym_env import MaskAnnotationEnv
from hlmat.transforms.envs.state import TargetSource, list_targets
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader
from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter

_CLICKS = 5
_OBSERVATION_HW = (128, 128)


class TimedSegmenter:
    """The graph-cut segmenter, with the seconds of processor time spent in it."""

    def __init__(self) -> None:
        self._segmenter = GraphCutSegmenter()
        self.cpu_s = 0.0

    def set_image(self, image: Image) -> None:
        start = time.process_time()
        self._segmenter.set_image(image)
        self.cpu_s += time.process_time() - start

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        start = time.process_time()
        prediction = self._segmenter.predict(clicks=clicks, box=box, feedback=feedback)
        self.cpu_s += time.process_time() - start
        return prediction


@dataclass(frozen=True)
class Clock:
    """Processor time so far.

    Attributes:
        cpu_s: seconds of each process, by its number.
        segmenter_s: seconds in segmenters.
    """

    cpu_s: Mapping[int, float]
    segmenter_s: float

    @classmethod
    def of(cls, readings: Iterable[tuple[int, float, float]]) -> Clock:
        """Put the readings of several environments together; some may share a process."""
        taken = list(readings)
        return cls({process: cpu_s for process, cpu_s, _ in taken}, sum(r[2] for r in taken))

    def speed_since(self, start: Clock, *, steps: int, wall_s: float) -> Speed:
        """Return what happened between two readings of the same processes."""
        cpu_s = sum(self.cpu_s.values()) - sum(start.cpu_s.values())
        return Speed(steps, wall_s, cpu_s, self.segmenter_s - start.segmenter_s)


class TimedEnv(MaskAnnotationEnv):
    """The environment, with the processor time spent."""

    def __init__(self, targets: Sequence[TargetSource]) -> None:
        cv2.setNumThreads(1)
        self._timed = TimedSegmenter()
        super().__init__(targets, self._timed, max_clicks=_CLICKS, observation_hw=_OBSERVATION_HW)

    @property
    def reading(self) -> tuple[int, float, float]:
        """The process, its seconds of processor time so far, the segmenter's."""
        return os.getpid(), time.process_time(), self._timed.cpu_s

    @property
    def clock(self) -> Clock:
        """The processor time so far."""
        return Clock.of([self.reading])


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        steps: clicks made.
        wall_s: seconds by the clock, resets included.
        cpu_s: seconds of processor time, of all processes together.
        segmenter_s: how many of these the segmenter spent.
    """

    steps: int
    wall_s: float
    cpu_s: float
    segmenter_s: float

    def row(self, name: str) -> str:
        """Return the figures as one line below `_HEADER`."""
        return (
            f"{name:<12} {self.steps:>6} {self.steps / self.wall_s:>8.1f} "
            f"{1000 * self.wall_s / self.steps:>8.1f} {1000 * self.cpu_s / self.steps:>12.1f} "
            f"{100 * self.segmenter_s / self.cpu_s:>12.1f}"
        )


_HEADER = (
    f"{'environment':<12} {'steps':>6} {'steps/s':>8} {'ms/step':>8} {'cpu ms/step':>12} "
    f"{'segmenter %':>12}"
)


def random_clicks(rng: np.random.Generator, space: spaces.Space[Any], count: int) -> Any:
    """Return `count` random clicks, no finish among them. Shape: (count, 3)."""
    assert isinstance(space, spaces.MultiDiscrete)
    return rng.integers(0, [2, *space.nvec[1:]], size=(count, 3))


def measure_single(targets: Sequence[TargetSource], *, steps: int, seed: int) -> Speed:
    """Step one environment."""
    env = TimedEnv(targets)
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    # Not measured: the first episode compiles.
    for _ in range(_CLICKS):
        env.step(random_clicks(rng, env.action_space, 1)[0])
    clock, start = env.clock, time.perf_counter()
    env.reset()
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(random_clicks(rng, env.action_space, 1)[0])
        if terminated or truncated:
            env.reset()
    return env.clock.speed_since(clock, steps=steps, wall_s=time.perf_counter() - start)


def measure_vector(env: VectorEnv, *, steps: int, seed: int) -> Speed:
    """Step all environments together, at least `steps` clicks in all."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    for _ in range(_CLICKS):
        env.step(random_clicks(rng, env.single_action_space, env.num_envs))
    ended = np.zeros(env.num_envs, dtype=np.bool_)
    made = 0
    clock, start = _clock(env), time.perf_counter()
    env.reset()
    while made < steps:
        clicks = random_clicks(rng, env.single_action_space, env.num_envs)
        _, _, terminated, truncated, _ = env.step(clicks)
        # An environment that had ended was reset by this step and made no click.
        made += int(np.count_nonzero(~ended))
        ended = terminated | truncated
    wall_s = time.perf_counter() - start
    return _clock(env).speed_since(clock, steps=made, wall_s=wall_s)


def _clock(env: VectorEnv) -> Clock:
    assert isinstance(env, (AsyncVectorEnv, SyncVectorEnv))
    # Plain tuples: a spawned process has classes of its own.
    return Clock.of([(os.getpid(), time.process_time(), 0.0), *env.get_attr("reading")])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="clicks per row (1000)")
    parser.add_argument("--environments", type=int, default=2, help="vectorised together (2)")
    parser.add_argument("--images", type=int, default=32, help="generated scenes (32)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    targets, _ = list_targets(ShapesReader(ShapesOptions(count=arguments.images)))
    print(
        f"{len(targets)} targets of 240 x 320 pixels, up to {_CLICKS} random clicks each, "
        f"observations of {_OBSERVATION_HW[0]} x {_OBSERVATION_HW[1]}"
    )
    print(_HEADER)
    steps, seed = arguments.steps, arguments.seed
    print(measure_single(targets, steps=steps, seed=seed).row("single"), flush=True)
    count = arguments.environments
    factories = [partial(TimedEnv, targets)] * count
    synchronous = SyncVectorEnv(factories)
    speed = measure_vector(synchronous, steps=steps, seed=seed)
    print(speed.row(f"sync x {count}"), flush=True)
    synchronous.close()
    parallel = AsyncVectorEnv(factories, context="spawn")
    speed = measure_vector(parallel, steps=steps, seed=seed)
    print(speed.row(f"async x {count}"), flush=True)
    parallel.close()


if __name__ == "__main__":
    main()
