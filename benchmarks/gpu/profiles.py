"""Where the worker's time goes, kernel by kernel and function by function."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.parts import Recorder, Setup
from benchmarks.gpu.worker_runs import Bench, WorkerRun, parsed, usual_scenes

_ROWS = 25


def measure_profile(setup: Setup, record: Recorder) -> None:
    """Sample Python's threads over some units, then list the kernels of one unit."""
    bench = Bench.of(setup, setup.models[0])
    run = WorkerRun(bench, usual_scenes(setup), parsed(setup.settings))
    record.attempt("Python's threads", lambda: _sample(record, run, record.budget_s * 0.2))
    record.attempt("kernels", lambda: _kernels(setup, record, run))


def _sample(record: Recorder, run: WorkerRun, seconds: float) -> None:
    """Look at every thread's stack again and again; a sample counts where a thread then stands."""
    places: Counter[tuple[str, str]] = Counter()
    samples = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal samples
        own = threading.get_ident()
        while not done.wait(0.005):
            samples += 1
            names = {t.ident: t.name.rstrip("0123456789_") for t in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    places[(names.get(ident, "?"), _place(frame))] += 1

    watcher = threading.Thread(target=watch, name="watch")
    watcher.start()
    try:
        figures = run.time(seconds=seconds)
    finally:
        done.set()
        watcher.join()
    record.row("Worker while sampled", samples=samples, **figures)
    for (thread, place), count in places.most_common(_ROWS):
        record.row("Python's threads", thread=thread, place=place, threads_mean=count / samples)


def _place(frame: Any) -> str:
    """Name the innermost frames: what is called, and which function of the project calls it."""
    innermost = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_code.co_name}"
    while frame is not None:
        name = frame.f_code.co_filename
        if "/hlmat/" in name or "/benchmarks/" in name:
            ours = f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno} {frame.f_code.co_name}"
            return f"{ours} > {innermost}"
        frame = frame.f_back
    return innermost


def _kernels(setup: Setup, record: Recorder, run: WorkerRun) -> None:
    activities = [ProfilerActivity.CPU]
    if setup.on_cuda:
        activities.append(ProfilerActivity.CUDA)
    unit = next(run._units)
    started = time.perf_counter()
    with profile(activities=activities) as profiler:
        run.simulate(unit)
        if setup.on_cuda:
            torch.cuda.synchronize()
    wall = time.perf_counter() - started
    averages = profiler.key_averages()
    if setup.on_cuda:
        kernels = [e for e in averages if "CUDA" in str(e.device_type)]
        busy = sum(event.self_device_time_total for event in kernels)
        record.note(
            f"one unit of {len(unit.items)} targets under the profiler: {wall:.2f} s, "
            f"the sum of all kernels {busy / 1e6:.2f} s (streams overlap)"
        )
        kernels.sort(key=lambda e: -e.self_device_time_total)
        for event in kernels[:_ROWS]:
            record.row(
                "GPU kernels",
                kernel=event.key[:110],
                calls=event.count,
                ms=event.self_device_time_total / 1e3,
                share_of_kernels=event.self_device_time_total / max(busy, 1),
            )
    operators = [e for e in averages if "CUDA" not in str(e.device_type)]
    operators.sort(key=lambda e: -e.self_cpu_time_total)
    for event in operators[:_ROWS]:
        record.row(
            "Operators on the CPU's side",
            operator=event.key[:80],
            calls=event.count,
            ms=event.self_cpu_time_total / 1e3,
        )
