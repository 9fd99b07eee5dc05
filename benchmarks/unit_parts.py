"""Where the processor time of a target goes in a worker, with a segmenter that costs nothing.

python -m benchmarks.unit_parts
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.flat_scenes import SEGMENTER, write_flat_scenes
from hlmat.pipelines.run.planning import listed_items
from hlmat.pipelines.run.source import RunSource
from hlmat.pipelines.run.trajectories import rollout_settings
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.run_options import trajectories_config
from hlmat.transforms.beam.simulate import ClickWorker
from hlmat.transforms.core.records import Provenance
from hlmat.transforms.dataset_io.unit_files import unit_to_bytes
from hlmat.transforms.dataset_io.work_units import plan_units

_PARTS = {
    "polygons to masks": "load_truth",
    "image: read, decode, digest": "_load_image",
    "click": "act",
    "run lengths, IoU, step": "take_step",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=1400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = write_flat_scenes(Path(folder), arguments.targets)
        flags = ["--dataset", "coco", "--data-root", folder, "--segmenter", SEGMENTER]
        config = trajectories_config(parse_command("trajectories", [*flags, "--out", "unused"]))
        reader = RunSource.open(config).reader
        made_by = Provenance("segmenter", "", "policy", 0, "fingerprint")
        settings = rollout_settings(config, reader=reader, provenance=made_by)
        worker = ClickWorker(replace(settings, num_threads=1)())
        items = listed_items(reader, config)
        units = list(plan_units(items, unit_size=config.unit_size, fingerprint="fingerprint"))
        worker.simulate(units[0])
        results, simulate_s = _timed(lambda: [worker.simulate(unit) for unit in units])
        _, file_s = _timed(
            lambda: [unit_to_bytes(r.outcomes, fingerprint="fingerprint") for r in results]
        )
        profile = cProfile.Profile(time.process_time)
        profile.runcall(lambda: [worker.simulate(unit) for unit in units])
    found = pstats.Stats(profile).get_stats_profile().func_profiles
    whole = found["simulate"].cumtime
    print("| part | ms a target |")
    print("|---|---|")
    left = simulate_s
    for part, name in _PARTS.items():
        share = found[name].cumtime / whole
        left -= share * simulate_s
        print(f"| {part} | {share * simulate_s / count * 1e3:.3f} |")
    for part, seconds in {"loop": left, "rows and unit's file": file_s}.items():
        print(f"| {part} | {seconds / count * 1e3:.3f} |")
    print(f"| all | {(simulate_s + file_s) / count * 1e3:.3f} |")


def _timed(work: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    started = time.process_time()
    return work(), time.process_time() - started


if __name__ == "__main__":
    main()
