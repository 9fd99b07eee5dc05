"""Seconds per click (SPC), measured on a few targets after a warm-up."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from hlmat.pipelines.run.planning import listed_items
from hlmat.pipelines.run.trajectories import rollout_settings
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.transforms.core.records import Provenance, TargetRef, Trajectory
from hlmat.transforms.dataset_io.work_units import WorkUnit
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.rollout.unit_worker import simulate_unit

WARM_UP_TARGETS = 2
TIMED_TARGETS = 20


@dataclass(frozen=True)
class ClickTime:
    """The time of clicks, one target after the other, on this machine.

    Attributes:
        seconds: reading, encoding, choosing clicks and segmenting.
        clicks: made in that time.
        targets: on which they were made.
    """

    seconds: float
    clicks: int
    targets: int

    @property
    def seconds_per_click(self) -> float | None:
        """SPC; None if no click was made."""
        return round(self.seconds / self.clicks, 4) if self.clicks else None


def measure_click_time(config: RunConfig) -> ClickTime:
    """Roll out the first targets of a run again, in this process, and time them.

    RITM divides the time of its loop over a data set, which reads and encodes the images, by the
    number of clicks. Here the first targets are not counted, because the segmenter's first calls
    are slower.

    Args:
        config: of the run.
    """
    reader = open_reader(config.dataset, config.reader)
    items = (item for item in listed_items(reader, config) if isinstance(item, TargetRef))
    provenance = Provenance(
        segmenter=config.segmenter.name,
        weights_sha256="",
        policy=config.policy.name,
        seed=config.seed,
        config_fingerprint="",
    )
    settings = replace(
        rollout_settings(config, reader=reader, provenance=provenance), images_at_once=1
    )
    simulation = settings()
    seconds, clicks, targets = 0.0, 0, 0
    for index, ref in zip(range(WARM_UP_TARGETS + TIMED_TARGETS), items, strict=False):
        started = time.perf_counter()
        [outcome] = simulate_unit(WorkUnit("timing", index, (ref,)), simulation)
        elapsed = time.perf_counter() - started
        if index >= WARM_UP_TARGETS and isinstance(outcome, Trajectory):
            seconds, clicks, targets = seconds + elapsed, clicks + outcome.num_clicks, targets + 1
    return ClickTime(seconds, clicks, targets)
