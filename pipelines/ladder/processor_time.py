"""How much processor time the trainings of a ladder took, over all calls that worked on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hlmat.pipelines.training.folder import TRAINED
from hlmat.transforms.core.atomic_files import atomic_file

PROCESSOR_TIME = "processor_time.json"
"""In the ladder's folder: seconds of processor time by training."""


class ProcessorTime:
    """A file with the processor time of each training: of this process, and of those it waited for.

    A training that is resumed adds to what it took before. Time before a call was killed is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def counting(self, name: str, model: Path) -> Iterator[None]:
        """Add what the body takes to train a model, unless the model is finished already."""
        was_finished = (model / TRAINED).is_file()
        before = _seconds()
        try:
            yield
        finally:
            if not was_finished:
                self._add(name, _seconds() - before)

    def minutes(self) -> dict[str, float]:
        """Return the minutes of each training, rounded to tenths."""
        return {name: round(seconds / 60, 1) for name, seconds in self._read().items()}

    def _add(self, name: str, seconds: float) -> None:
        found = self._read()
        found[name] = round(found.get(name, 0.0) + seconds, 1)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(str(self._path)) as f:
            f.write(json.dumps(found, indent=1).encode() + b"\n")

    def _read(self) -> dict[str, float]:
        try:
            return json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
