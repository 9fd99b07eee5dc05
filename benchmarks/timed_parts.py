"""The worker's parts with a clock on each: reading, encoding, decoding, clicks."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hlmat.transforms.core.protocols import (
    DatasetReader,
    Image,
    Prediction,
    Request,
    State,
    TruthMasks,
)
from hlmat.transforms.core.records import Click, Finish, TargetRef
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.segmenters.sam.segmenter import SamSegmenter


class PartTimes:
    """Seconds by part, summed over threads.

    Attributes:
        seconds: of each part.
        images: how many were encoded.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.images = 0
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Start again from nothing."""
        self.seconds.clear()
        self.images = 0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add the time spent inside to a part."""
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        with self._lock:
            self.seconds[part] += spent

    def shares(self, *, total_s: float) -> dict[str, float]:
        """Return each part's share of the time that passed."""
        return {part: spent / total_s for part, spent in sorted(self.seconds.items())}

    def print(self, *, total_s: float) -> None:
        """Print each part's share of the time that passed; parts that overlap exceed the whole."""
        shares = self.shares(total_s=total_s)
        print("  ".join(f"{part} {share:.0%}" for part, share in shares.items()), end="")
        print(f"  of {total_s:.1f} s; the rest is comparing and encoding masks")


class TimedReader:
    """A reader with a clock."""

    def __init__(self, reader: DatasetReader, times: PartTimes) -> None:
        self._reader = reader
        self._times = times

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        with self._times.of("read"):
            return self._reader.load_truth(ref)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        with self._times.of("read"):
            return self._reader.load_image(image_path, size_hw=size_hw)


class TimedSam:
    """SAM with a clock."""

    def __init__(self, segmenter: SamSegmenter, times: PartTimes) -> None:
        self._segmenter = segmenter
        self._times = times
        self.leaves_cpu_free = segmenter.leaves_cpu_free

    def set_image(self, image: Image) -> None:
        self._segmenter.set_image(image)

    def predict(self, **prompts: Any) -> Prediction:
        return self._segmenter.predict(**prompts)

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        return self._segmenter.predict_batch(requests)

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        self._times.images += len(images)
        with self._times.of("encode images"):
            return list(self._segmenter.encode_images(images))

    def predict_many(self, pairs: Sequence[tuple[Any, Request]]) -> list[Prediction]:
        with self._times.of("decode masks"):
            return self._segmenter.predict_many(pairs)


class TimedPolicy:
    """The oracle with a clock."""

    name = "oracle"

    def __init__(self, policy: OraclePolicy, times: PartTimes) -> None:
        self._policy = policy
        self._times = times

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        return self._policy.initial_clicks(state)

    def next_action(self, state: State) -> Click | Finish:
        with self._times.of("search clicks"):
            return self._policy.next_action(state)

    def next_actions(self, states: Sequence[State]) -> list[Any]:
        return [self.next_action(state) for state in states]
