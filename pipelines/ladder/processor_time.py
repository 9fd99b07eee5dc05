"""How much processor time the trainings of a ladder took, over all calls that worked on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hlmat.pipelines.training.folder import TRAINED
from hlmat.transforms.core.atomic_files import atomic_file
from hlmat.transforms.core.errors import OutputError

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
        """Add what the body takes to train a model, unless it leaves a finished one as it is.

        Raises:
            OutputError: the file is damaged or cannot be written.
        """
        self._read()  # A damaged file is reported before the training, which may take hours.
        finished, before = _record(model), _seconds()
        try:
            yield
        finally:
            if finished is None or _record(model) != finished:
                self._add(name, _seconds() - before)

    def minutes(self) -> dict[str, float]:
        """Return the minutes of each training, rounded to tenths.

        Raises:
            OutputError: the file is damaged.
        """
        return {name: round(seconds / 60, 1) for name, seconds in self._read().items()}

    def _add(self, name: str, seconds: float) -> None:
        found = self._read()
        found[name] = round(found.get(name, 0.0) + seconds, 1)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(str(self._path)) as f:
                f.write(json.dumps(found, indent=1).encode() + b"\n")
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written: {error}; check permissions and space"
            ) from error

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self._path.read_bytes())
            return {str(name): float(seconds) for name, seconds in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{self._path} does not hold seconds by training ({error}); remove it to measure "
                "without the time so far"
            ) from error


def _record(model: Path) -> bytes | None:
    """Return the record of a finished training, or None."""
    try:
        return (model / TRAINED).read_bytes()
    except FileNotFoundError:
        return None


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
