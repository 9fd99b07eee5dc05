"""Time the SAM worker against a plain loop: same targets, same weights, same device, one process.

    python -m benchmarks.worker --model tiny --source ecssd --images 100
    python -m benchmarks.worker --model vit_b --source 640x480 --images 4 --targets 10 \\
        --segmenter-arg precision=bf16
    python -m benchmarks.worker --memory --images 4000 --targets 10000

Weights are random, so masks are noise: every target is clicked to the last click, and stop rules
that look at the IoU are off for both. The plain loop encodes the image for every object again;
its second figure is that of a loop which shares it. Trajectories agree where every click is the
same; where rounding flips a pixel of a mask made of noise, later clicks may part.
"""

from __future__ import annotations

import argparse
import copy
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.comparison import (
    agreement,
    endless_simulation,
    matrix_product_flops,
    time_plain_loop,
)
from benchmarks.drawn_scenes import DrawnScenes
from benchmarks.plain_loop import PlainLoop
from benchmarks.random_sam import MODELS, encoder_flops, random_sam
from benchmarks.timed_parts import PartTimes, TimedPolicy, TimedReader, TimedSam
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import TargetRef, Trajectory
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.dataset_io.work_units import WorkUnit, plan_units
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.rollout.unit_worker import simulate_unit
from hlmat.transforms.segmenters.sam.options import SamOptions
from hlmat.transforms.segmenters.sam.segmenter import SamSegmenter

_UNIT_SIZE = 128


def main() -> None:
    """Print both speeds, their ratio, the agreement, the parts, the encoder's share of the peak."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reader = _reader(arguments, Path(folder))
        if arguments.memory:
            _follow_memory(arguments, reader)
        else:
            _compare(arguments, reader)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--source", default="400x300", help="WIDTHxHEIGHT drawn, or ecssd")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--targets", type=int, help="of drawn images (one an image)")
    parser.add_argument("--plain-targets", type=int, help="time the plain loop on the first N")
    parser.add_argument("--max-clicks", type=int, default=5)
    parser.add_argument("--segmenter-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--memory", action="store_true", help="follow the memory, no plain loop")
    return parser


def _reader(arguments: argparse.Namespace, folder: Path) -> DatasetReader:
    if arguments.source == "ecssd":
        return open_reader("ecssd", ReaderOptions(data_root=str(arguments.shared / "hqseg44k")))
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.source)
    if size is None:
        raise SystemExit(f"--source {arguments.source!r}: expected WIDTHxHEIGHT or ecssd")
    scenes = DrawnScenes(
        folder,
        size_hw=(int(size[2]), int(size[1])),
        images=arguments.images,
        targets=arguments.targets or arguments.images,
    )
    scenes.draw()
    return scenes


def _units(arguments: argparse.Namespace, reader: DatasetReader) -> list[WorkUnit]:
    count = arguments.targets or arguments.images
    items = islice(reader.read_targets(), count)
    return list(plan_units(items, unit_size=_UNIT_SIZE, fingerprint="benchmark"))


def _options(pairs: Sequence[str]) -> SamOptions:
    values: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        values[key] = {"true": True, "false": False}.get(text, text)
        if text.isdigit():
            values[key] = int(text)
    return SamOptions.of(values)


def _compare(arguments: argparse.Namespace, reader: DatasetReader) -> None:
    model = random_sam(arguments.model).to(arguments.device)
    flops = encoder_flops(copy.deepcopy(model))
    threads = Threads(available_cores())
    segmenter = SamSegmenter.from_model(
        copy.deepcopy(model),
        device=arguments.device,
        options=_options(arguments.segmenter_arg),
        threads=threads,
    )
    times = PartTimes()
    simulation = endless_simulation(
        TimedSam(segmenter, times),
        TimedReader(reader, times),
        TimedPolicy(OraclePolicy(), times),
        max_clicks=arguments.max_clicks,
        threads=threads,
    )
    units = _units(arguments, reader)
    refs = [item for unit in units for item in unit.items if isinstance(item, TargetRef)]
    plain_refs = refs[: arguments.plain_targets]

    # Compiled kernels and grown memory pools are not what is compared.
    warm = next(plan_units(refs[:3], unit_size=3, fingerprint="warm"))
    simulate_unit(warm, simulation)
    plain = PlainLoop(model, reader=reader, max_clicks=arguments.max_clicks)
    plain.trajectory(refs[0])
    times.clear()

    started = time.perf_counter()
    made = [outcome for unit in units for outcome in simulate_unit(unit, simulation)]
    worker_s = (time.perf_counter() - started) / len(refs)
    # The worker holds PyTorch to one thread in each of its own.
    torch.set_num_threads(available_cores())
    plain_s, theirs = time_plain_loop(plain, plain_refs)
    sharing = PlainLoop(model, reader=reader, max_clicks=arguments.max_clicks, share_images=True)
    sharing_s, _ = time_plain_loop(sharing, plain_refs)

    ours = [outcome for outcome in made if isinstance(outcome, Trajectory)]
    print(f"{arguments.model} on {arguments.device}, {arguments.source}, {len(refs)} targets")
    print(f"plain loop           {1 / plain_s:10.2f} trajectories/s  (first {len(plain_refs)})")
    print(f"plain, image shared  {1 / sharing_s:10.2f} trajectories/s")
    print(f"worker               {1 / worker_s:10.2f} trajectories/s  (of {len(ours)})")
    print(f"ratio {plain_s / worker_s:.1f}, to the loop that shares {sharing_s / worker_s:.1f}")
    print(agreement(ours[: len(theirs)], theirs))
    times.print(total_s=worker_s * len(refs))
    _print_encoder(flops, times, device=arguments.device)
    _print_memory(arguments.device)


def _print_encoder(flops: int, times: PartTimes, *, device: str) -> None:
    achieved = flops * times.images / times.seconds["encode images"] / 1e12
    print(f"encoder: {flops / 1e12:.3f} TFLOP an image, {achieved:.3f} TFLOP/s achieved")
    for precision in (torch.bfloat16, torch.float32):
        peak = matrix_product_flops(device, precision) / 1e12
        name = str(precision).removeprefix("torch.")
        print(f"  {achieved / peak:6.1%} of a {name} matrix product ({peak:.3f} TFLOP/s)")


def _print_memory(device: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB", end="")
    if device != "cpu":
        print(
            f", of the device {torch.cuda.max_memory_allocated(device) / 1024**2:.0f} MiB", end=""
        )
    print()


def _follow_memory(arguments: argparse.Namespace, reader: DatasetReader) -> None:
    """Work through all units and print the resident memory on the way."""
    threads = Threads(available_cores())
    segmenter = SamSegmenter.from_model(
        random_sam(arguments.model),
        device=arguments.device,
        options=_options(arguments.segmenter_arg),
        threads=threads,
    )
    simulation = endless_simulation(
        segmenter, reader, OraclePolicy(), max_clicks=arguments.max_clicks, threads=threads
    )
    done = 0
    for number, unit in enumerate(_units(arguments, reader)):
        done += len(simulate_unit(unit, simulation))
        if number % 8 == 0:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            resident = re.search(r"VmRSS:\s+(\d+)", status)
            print(f"{done:6d} targets, {int(resident[1]) // 1024 if resident else 0} MiB resident")


if __name__ == "__main__":
    main()
