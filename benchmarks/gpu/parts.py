"""Parts of a run, each in a separate process with a time limit.

A part that crashes, runs out of memory or hangs leaves the others alone, and what it recorded until
then is kept.
"""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hlmat.transforms.core.storage import LocalStorage

_GRACE_S = 6.0
"""What a part may take beyond its budget, a fifth of it aside, before its process is ended."""

Result = dict[str, Any]
"""Of one part: `tables` of rows by name, `notes`, `error` or None, `seconds`."""


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Attributes:
        device: "cuda", "cuda:N" or "cpu".
        models: names of `random_sam.MODELS`, the main one first.
        folder: for drawn images; in memory where the machine has a file system for that.
        sizes: width and height of small, medium and large images.
        unit_size: targets per work unit.
        max_clicks: per target.
        settings: of the worker where no others are tried, `key=value ...`.
    """

    device: str
    models: tuple[str, ...]
    folder: Path
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    unit_size: int
    max_clicks: int
    settings: str = "precision=bf16"

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"


class Recorder:
    """Takes a part's findings and writes each at once, so that a killed part keeps them.

    Args:
        file: where the part's result goes.
        budget_s: how long the part should take.
    """

    def __init__(self, file: Path, *, budget_s: float) -> None:
        self._file = file
        self._started = time.monotonic()
        self._budget_s = budget_s
        self._result: Result = {"tables": {}, "notes": [], "error": None}

    @property
    def left_s(self) -> float:
        """Seconds left of the budget; below 0 when it is spent."""
        return self._budget_s - (time.monotonic() - self._started)

    @property
    def budget_s(self) -> float:
        """The whole budget in seconds."""
        return self._budget_s

    def row(self, table: str, **values: Any) -> None:
        """Add a row to a table."""
        self._result["tables"].setdefault(table, []).append(values)
        self._write()

    def note(self, text: str) -> None:
        """Add a sentence."""
        self._result["notes"].append(text)
        self._write()

    def fail(self, error: str) -> None:
        """Keep the reason why the part ended early."""
        self._result["error"] = error
        self._write()

    def attempt(self, what: str, work: Callable[[], None], *, needs_s: float = 0.0) -> None:
        """Do one piece of the part; if it fails or there is no time left, note it and go on."""
        needs_s = max(needs_s, 0.03 * self._budget_s)
        if self.left_s < needs_s:
            self.note(f"{what}: left out, {max(self.left_s, 0):.1f} s left, {needs_s:.1f} needed")
            return
        try:
            work()
        # The next piece may well work: out of memory, a kernel that does not exist here.
        except Exception as error:
            self.note(
                f"{what}: failed, {type(error).__name__}: {' '.join(str(error).split())[:400]}"
            )

    def _write(self) -> None:
        self._result["seconds"] = round(time.monotonic() - self._started, 1)
        LocalStorage().write_bytes(str(self._file), json.dumps(self._result).encode())


@dataclass(frozen=True)
class Part:
    """One thing to find out.

    Attributes:
        name: its heading.
        budget_s: its share of the time; the last part takes whatever is left.
        work: finds it out.
    """

    name: str
    budget_s: float
    work: Callable[[Setup, Recorder], None]


def run_parts(
    parts: Sequence[Part],
    setup: Setup,
    *,
    seconds: float,
    folder: Path,
    publish: Callable[[dict[str, Result]], None],
    meanwhile: Callable[[], None] | None = None,
) -> dict[str, Result]:
    """Run parts one after another and publish all results whenever one has news.

    Args:
        parts: the most important first.
        seconds: for all parts together; budgets shrink in proportion where they ask for more.
        folder: for the files that parts write.
        publish: given the results so far.
        meanwhile: work for this process while the first part runs.

    Returns:
        A result per part, in order.
    """
    deadline = time.monotonic() + seconds
    results: dict[str, Result] = {}
    # A fork inherits the imported modules and Numba's compiled functions; this process never
    # touches the GPU, so that its children may.
    method = "fork"
    for number, part in enumerate(parts):
        left = max(deadline - time.monotonic(), 0.0)
        share = left * part.budget_s / sum(p.budget_s for p in parts[number:])
        budget = share if number == len(parts) - 1 else min(part.budget_s, share)
        if left < min(5.0, 0.02 * seconds):
            results[part.name] = _empty(f"left out: {left:.0f} s were left of {seconds:.0f}")
            publish(results)
            continue
        methods = ("fork", "spawn") if number == 0 else (method,)
        for method in methods:
            child = _Child(part, setup, folder / f"{number}-{method}.json", budget, method)
            if meanwhile is not None:
                meanwhile()
                meanwhile = None
            limit = min(1.2 * budget + _GRACE_S, max(deadline - time.monotonic(), 1.0))
            for result in child.results(limit_s=limit):
                results[part.name] = result
                publish(results)
            if not _cannot_use_cuda(results[part.name]):
                break
    return results


class _Child:
    """A process that works on a part."""

    def __init__(self, part: Part, setup: Setup, file: Path, budget_s: float, method: str) -> None:
        context: Any = multiprocessing.get_context(method)
        self._file = file
        self._started = time.monotonic()
        self._process = context.Process(target=_work, args=(part, setup, file, budget_s))
        self._process.start()

    def results(self, *, limit_s: float) -> Iterator[Result]:
        """Yield the result whenever it has grown, at last the final one.

        Args:
            limit_s: how long the process may take before it is ended.
        """
        process, seen = self._process, b""
        while process.is_alive() and time.monotonic() - self._started < limit_s:
            process.join(0.5)
            if self._file.exists() and (data := self._file.read_bytes()) != seen:
                seen = data
                yield json.loads(data)
        timed_out = process.is_alive()
        if timed_out:
            process.kill()
        process.join()
        result = json.loads(self._file.read_bytes()) if self._file.exists() else _empty(None)
        if timed_out:
            result["error"] = f"ended after {limit_s:.0f} s, its limit"
        elif process.exitcode and not result["error"]:
            result["error"] = f"its process ended with exit code {process.exitcode}"
        result["seconds"] = round(time.monotonic() - self._started, 1)
        yield result


def _cannot_use_cuda(result: Result) -> bool:
    """Tell whether a forked process was refused the GPU because its parent had touched it."""
    error = str(result["error"] or "").lower()
    return "forked subprocess" in error or "initialization error" in error


def _work(part: Part, setup: Setup, file: Path, budget_s: float) -> None:
    recorder = Recorder(file, budget_s=budget_s)
    if not setup.on_cuda:
        # Threads that spin while waiting are slow when other work runs on the same cores.
        torch.set_num_threads(1)
    try:
        part.work(setup, recorder)
    # Any failure belongs into the report.
    except Exception:
        recorder.fail(traceback.format_exc(limit=-6))


def _empty(error: str | None) -> Result:
    return {"tables": {}, "notes": [], "error": error, "seconds": 0.0}
