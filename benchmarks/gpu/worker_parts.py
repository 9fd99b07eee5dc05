"""The parts that time the worker: models, image sizes, targets an image, settings."""

from __future__ import annotations

import gc
import itertools
import sys
import time
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.parts import Recorder, Setup
from benchmarks.gpu.worker_runs import (
    TARGETS,
    Bench,
    Plain,
    Scenes,
    WorkerRun,
    parsed,
    record_worker,
    time_plain,
    usual_scenes,
)
from hlmat.transforms.core.records import Reject, Trajectory


def measure_main(setup: Setup, record: Recorder) -> None:
    """Time the main model on small images of 3 targets, both precisions, against the plain loop."""
    bench, scenes = Bench.of(setup, setup.models[0]), usual_scenes(setup)
    plain = time_plain(bench, scenes, seconds=record.budget_s * 0.15)
    for settings in dict.fromkeys((setup.settings, "precision=fp32", "precision=bf16")):
        _try(record, "Worker and plain loop", bench, scenes, settings, 0.12, plain=plain)


def measure_others(setup: Setup, record: Recorder) -> None:
    """Time the other models on small images of 3 targets."""
    others = setup.models[1:] or setup.models
    for name in others:
        bench = Bench.of(setup, name)
        scenes = usual_scenes(setup)
        share = 0.25 / len(others)
        plain = time_plain(bench, scenes, seconds=record.budget_s * share)
        _try(record, "Other models", bench, scenes, setup.settings, share, plain=plain)
        del bench


def measure_settings(setup: Setup, record: Recorder) -> None:
    """Sweep what the worker can be set to, one thing at a time."""
    bench, scenes = Bench.of(setup, setup.models[0]), usual_scenes(setup)
    table = "Settings of the worker"
    fixed = "precision=bf16 encoder_batch=8"
    for at_once in (8, 16, 32, 64):
        _try(record, table, bench, scenes, fixed, 0.05, images_at_once=at_once)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    label = f"{fixed}, thread switch interval 0.5 ms"
    _try(record, table, bench, scenes, fixed, 0.05, images_at_once=16, label=label)
    sys.setswitchinterval(usual)
    if setup.on_cuda:
        _try(record, table, bench, scenes, f"{fixed} cuda_graphs=true", 0.05, images_at_once=16)
        torch.backends.cuda.matmul.allow_tf32 = True
        label = f"{fixed}, TF32 elsewhere"
        _try(record, table, bench, scenes, fixed, 0.05, images_at_once=16, label=label)
        torch.backends.cuda.matmul.allow_tf32 = False
    else:
        record.note("cuda_graphs: left out, no CUDA device")
    _try(record, table, bench, scenes, f"{fixed} embeddings=float16", 0.05, images_at_once=16)
    if setup.on_cuda:
        compiled = f"{fixed} compile=true cuda_graphs=true"
        _try(record, table, bench, scenes, compiled, 0.05, images_at_once=16, needs_s=20)


def measure_kept(setup: Setup, record: Recorder) -> None:
    """Go through the same images twice, embeddings kept on the device, in memory and on disk."""
    bench, scenes = Bench.of(setup, setup.models[0]), usual_scenes(setup)
    units = 3 if setup.on_cuda else 1
    setup.folder.mkdir(parents=True, exist_ok=True)
    for where in ("device_gb=8", "memory_gb=8", "store"):

        def work(where: str = where) -> None:
            with TemporaryDirectory(dir=setup.folder) as folder:
                kept = {"store": folder} if where == "store" else parsed(where)
                run = WorkerRun(bench, scenes, parsed(setup.settings) | kept)
                listed = list(itertools.islice(run._units, units))
                made: list[Trajectory | Reject] = []
                seconds: list[float] = []
                for _ in range(2):
                    started = time.perf_counter()
                    made = [outcome for unit in listed for outcome in run.simulate(unit)]
                    seconds.append(time.perf_counter() - started)
                record.row(
                    "Kept embeddings",
                    kept=where,
                    targets=len(made),
                    first_trajectories_s=len(made) / seconds[0],
                    second_trajectories_s=len(made) / seconds[1],
                    faster=seconds[0] / seconds[1],
                )

        record.attempt(where, work, needs_s=record.budget_s * 0.1)


def measure_grid(setup: Setup, record: Recorder) -> None:
    """Time models, sizes and numbers of targets while time is left; projections come first."""
    main, largest = setup.models[0], "vit_h" if "vit_h" in setup.models else setup.models[0]
    cells = [Scenes(w, h, n) for w, h in setup.sizes for n in TARGETS]
    small, _, large = setup.sizes
    first = [Scenes(*small, 1), Scenes(*large, 1), Scenes(*small, 3)]
    others = [cell for cell in cells if cell not in first]
    wanted = [(main, first), (largest, first), (main, others)]
    wanted += [(name, cells) for name in setup.models if name not in (main, largest)]
    wanted += [(largest, others)] if largest != main else []
    if len(setup.models) == 1:
        wanted = [(main, first), (main, others)]
    cells_left = sum(len(listed) for _, listed in wanted)
    for name, listed in wanted:
        if record.left_s < 0.03 * record.budget_s:
            record.note(f"{name}: {len(listed)} cells left out, no time left")
            continue
        bench = Bench.of(setup, name)
        for scenes in listed:
            # What earlier cells did not take goes to later ones.
            seconds = min(2.5, max(record.left_s, 0) / cells_left * 0.25)
            cells_left -= 1

            def work(bench: Bench = bench, scenes: Scenes = scenes, s: float = seconds) -> None:
                plain = time_plain(bench, scenes, seconds=s)
                run = WorkerRun(bench, scenes, parsed(setup.settings))
                record_worker(record, "Grid", run, settings=setup.settings, seconds=s, plain=plain)

            label = f"{name} {scenes.width}x{scenes.height} {scenes.targets} targets"
            record.attempt(label, work, needs_s=3 * seconds)
        del bench


def _try(
    record: Recorder,
    table: str,
    bench: Bench,
    scenes: Scenes,
    settings: str,
    share: float,
    *,
    plain: Plain | None = None,
    images_at_once: int = 0,
    label: str | None = None,
    needs_s: float = 0.0,
) -> None:
    """Record the worker with some settings, for a share of the part's time."""
    name = label or settings
    if images_at_once:
        name += f", {images_at_once} images at once"

    def work() -> None:
        run = WorkerRun(bench, scenes, parsed(settings), images_at_once=images_at_once)
        seconds = record.budget_s * share
        record_worker(record, table, run, settings=name, seconds=seconds, plain=plain)

    record.attempt(name, work, needs_s=min(needs_s, record.budget_s))
    gc.collect()
