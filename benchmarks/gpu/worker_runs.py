"""The worker and the plain loop on the same drawn images: one timed run of each."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import cv2
import torch

from benchmarks.comparison import (
    agreement,
    endless_simulation,
    time_plain_loop,
)
from benchmarks.drawn_scenes import DrawnScenes
from benchmarks.gpu.device_facts import product_flops
from benchmarks.gpu.parts import Recorder, Setup
from benchmarks.plain_loop import PlainLoop, PlainStep
from benchmarks.random_sam import encoder_flops, random_sam
from benchmarks.timed_parts import PartTimes, TimedPolicy, TimedReader, TimedSam
from hlmat.transforms.core.records import Reject, TargetRef, Trajectory
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.dataset_io.work_units import WorkUnit, plan_units
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.rollout import unit_worker
from hlmat.transforms.rollout.unit_worker import Simulation, simulate_unit
from hlmat.transforms.segmenters.sam.options import SamOptions
from hlmat.transforms.segmenters.sam.segmenter import SamSegmenter

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

TARGETS = (1, 3, 10)
_FILES = 16
_MANY = 1_000_000
"""Images in a data set that no run gets to the end of."""


@dataclass(frozen=True)
class Scenes:
    """A workload.

    Attributes:
        width: of each image.
        height: likewise.
        targets: of each image.
    """

    width: int
    height: int
    targets: int


@dataclass
class Bench:
    """A model with random weights on the device, and what it is measured with.

    Attributes:
        model: left as segment-anything builds it; each run takes a copy.
        encoder_flops: of one image.
        peak_flops: of a bfloat16 matrix product, measured on the same device.
        plain: seconds a trajectory and trajectories of the plain loop, by workload.
    """

    setup: Setup
    name: str
    model: Sam
    encoder_flops: int
    peak_flops: float
    plain: dict[Scenes, Plain] = field(default_factory=dict)

    @classmethod
    def of(cls, setup: Setup, name: str) -> Bench:
        """Build a model; a new one replaces what was on the device before."""
        gc.collect()
        if setup.on_cuda:
            torch.cuda.empty_cache()
        return cls(
            setup,
            name,
            random_sam(name, device=setup.device),
            encoder_flops(random_sam(name, device="meta")),
            product_flops(setup, torch.bfloat16),
        )


def scenes_reader(setup: Setup, scenes: Scenes) -> DrawnScenes:
    """Return a data set without an end, whose few files are drawn when first asked for."""
    folder = setup.folder / f"{scenes.width}x{scenes.height}"
    reader = DrawnScenes(
        folder,
        size_hw=(scenes.height, scenes.width),
        images=_MANY,
        targets=_MANY * scenes.targets,
        files=_FILES if setup.on_cuda else 4,
    )
    if not folder.exists():
        # Another process may be drawing the same, or have been ended in the middle of it.
        setup.folder.mkdir(parents=True, exist_ok=True)
        drawn = Path(mkdtemp(dir=setup.folder))
        replace(reader, folder=drawn).draw()
        with contextlib.suppress(OSError):
            drawn.rename(folder)
    return reader


@dataclass(frozen=True)
class Plain:
    """What the plain loop took.

    Attributes:
        seconds: per trajectory.
        sharing_seconds: per trajectory where an image is encoded once for all its targets.
        trajectories: the first ones of the data set.
    """

    seconds: float
    sharing_seconds: float
    trajectories: list[list[PlainStep]]


def time_plain(bench: Bench, scenes: Scenes, *, seconds: float) -> Plain:
    """Time both plain loops on a workload's first targets; known results are taken again."""
    if scenes in bench.plain:
        return bench.plain[scenes]
    reader = scenes_reader(bench.setup, scenes)
    at_most = bench.setup.unit_size
    refs = [r for r in itertools.islice(reader.read_targets(), at_most) if isinstance(r, TargetRef)]
    loop = PlainLoop(bench.model, reader=reader, max_clicks=bench.setup.max_clicks)
    loop.trajectory(refs[0])
    each, trajectories = time_plain_loop(loop, refs, seconds=seconds)
    sharing = PlainLoop(
        bench.model, reader=reader, max_clicks=bench.setup.max_clicks, share_images=True
    )
    shared = each
    if scenes.targets > 1:
        # Whole images, or the share of encoding would be wrong.
        whole = max(scenes.targets, len(trajectories) // scenes.targets * scenes.targets)
        shared, _ = time_plain_loop(sharing, refs[:whole])
    bench.plain[scenes] = Plain(each, shared, trajectories)
    return bench.plain[scenes]


class WorkerRun:
    """The worker with one model and one set of settings, ready to be timed."""

    def __init__(
        self, bench: Bench, scenes: Scenes, options: Mapping[str, Any], *, images_at_once: int = 0
    ) -> None:
        self.bench, self.scenes = bench, scenes
        self.options = SamOptions.of(options)
        self.threads = Threads(available_cores())
        cv2.setNumThreads(self.threads.count)
        self.times = PartTimes()
        self.segmenter = SamSegmenter.from_model(
            copy.deepcopy(bench.model),
            device=bench.setup.device,
            options=self.options,
            threads=self.threads,
            identity={"model_type": bench.name, "weights_sha256": "random"},
        )
        self._images_at_once = images_at_once
        reader = scenes_reader(bench.setup, scenes)
        simulation = endless_simulation(
            TimedSam(self.segmenter, self.times),
            TimedReader(reader, self.times),
            TimedPolicy(OraclePolicy(), self.times),
            max_clicks=bench.setup.max_clicks,
            threads=self.threads,
        )
        self.simulation: Simulation = simulation
        self._units = plan_units(
            reader.read_targets(), unit_size=bench.setup.unit_size, fingerprint="benchmark"
        )
        started = time.perf_counter()
        self.first_unit = next(self._units)
        self.first = self.simulate(self.first_unit)
        self.warm_s = time.perf_counter() - started

    def simulate(self, unit: WorkUnit) -> list[Trajectory | Reject]:
        """Work on one unit, with as many images at once as this run is to try."""
        usual = unit_worker._IMAGES_AT_ONCE
        if self._images_at_once:
            unit_worker._IMAGES_AT_ONCE = self._images_at_once
        try:
            return simulate_unit(unit, self.simulation)
        finally:
            unit_worker._IMAGES_AT_ONCE = usual

    def time(self, *, seconds: float) -> dict[str, Any]:
        """Work on further units for a while; return the figures."""
        setup = self.bench.setup
        self.times.clear()
        if setup.on_cuda:
            torch.cuda.reset_peak_memory_stats(setup.device)
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        images = trajectories = rejects = 0
        while True:
            unit = next(self._units)
            images += len({item.image_path for item in unit.items if isinstance(item, TargetRef)})
            outcomes = self.simulate(unit)
            failed = sum(isinstance(outcome, Reject) for outcome in outcomes)
            rejects += failed
            trajectories += len(outcomes) - failed
            total = time.perf_counter() - started
            if total >= seconds:
                break
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        achieved = self.bench.encoder_flops * self.times.images / total
        figures: dict[str, Any] = {
            "images_s": images / total,
            "trajectories_s": trajectories / total,
            "encoder_tflops_over_all": achieved / 1e12,
            "encoder_share_of_product": achieved / self.bench.peak_flops,
            "cores_busy": spent / total,
            "rejects": rejects,
            "images": images,
            "seconds": total,
            "first_unit_s": self.warm_s,
            "time": _as_text(self.times.shares(total_s=total)),
        }
        if setup.on_cuda:
            figures["gpu_mib"] = torch.cuda.max_memory_allocated(setup.device) / 1024**2
        return figures


def record_worker(
    record: Recorder,
    table: str,
    run: WorkerRun,
    *,
    settings: str,
    seconds: float,
    plain: Plain | None = None,
) -> dict[str, Any]:
    """Time a run and record a row, compared with the plain loop where that was timed."""
    row: dict[str, Any] = {
        "model": run.bench.name,
        "size": f"{run.scenes.width}x{run.scenes.height}",
        "targets": run.scenes.targets,
        "settings": settings,
        **run.time(seconds=seconds),
    }
    if plain is not None:
        made = [outcome for outcome in run.first if isinstance(outcome, Trajectory)]
        compared = min(len(plain.trajectories), len(run.first))
        row |= {
            "plain_s": 1 / plain.seconds,
            "plain_sharing_s": 1 / plain.sharing_seconds,
            "ratio": row["trajectories_s"] * plain.seconds,
            "ratio_sharing": row["trajectories_s"] * plain.sharing_seconds,
        }
        if len(made) == len(run.first):
            same = agreement(made[:compared], plain.trajectories[:compared])
            row |= {
                "same_targets": f"{same.same}/{same.targets}",
                "same_clicks": f"{same.same_clicks}/{same.clicks}",
                "iou_mean": same.mean_iou,
                "iou_least": same.least_iou,
            }
    record.row(table, **row)
    reasons = {o.message[:300] for o in run.first if isinstance(o, Reject)}
    for reason in sorted(reasons)[:2]:
        record.note(f"{settings}: targets rejected: {reason}")
    return row


def usual_scenes(setup: Setup) -> Scenes:
    """Return small images of 3 targets."""
    return Scenes(*setup.sizes[0], 3)


def parsed(settings: str) -> dict[str, Any]:
    """Return `key=value ...` as a dictionary of options."""
    values: dict[str, Any] = {}
    for pair in settings.split():
        key, _, text = pair.partition("=")
        values[key] = {"true": True, "false": False}.get(
            text, int(text) if text.isdigit() else text
        )
    return values


def _as_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {share:.0%}" for part, share in shares.items())


def scratch_folder() -> Path | None:
    """Return a file system in memory, None where the machine has none."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() else None
