"""The worker and the plain loop on the same targets: set-up, timing, agreement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.plain_loop import PlainLoop, PlainStep
from hlmat.transforms.core.records import Click, Provenance, TargetRef, Trajectory
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.masks.rle import decode_rle, mask_iou
from hlmat.transforms.rollout.loop import Limits
from hlmat.transforms.rollout.unit_worker import Simulation

_PROVENANCE = Provenance("sam", "", "oracle", 0, "benchmark")


def endless_simulation(
    segmenter: Any, reader: Any, policy: Any, *, max_clicks: int, threads: Threads
) -> Simulation:
    """Return a simulation without the stop rules that look at the IoU: every target costs alike."""
    return Simulation(
        reader=reader,
        segmenter=segmenter,
        policy=policy,
        limits=Limits(max_clicks=max_clicks, target_iou=None, stop_on_no_gain=False),
        provenance=_PROVENANCE,
        threads=threads,
    )


def time_plain_loop(
    loop: PlainLoop, refs: Sequence[TargetRef], *, seconds: float | None = None
) -> tuple[float, list[list[PlainStep]]]:
    """Return the seconds per trajectory and the trajectories.

    Args:
        seconds: stop early once this long has passed; None goes through all targets.
    """
    started = time.perf_counter()
    trajectories: list[list[PlainStep]] = []
    for ref in refs:
        trajectories.append(loop.trajectory(ref))
        if seconds is not None and time.perf_counter() - started >= seconds:
            break
    return (time.perf_counter() - started) / len(trajectories), trajectories


@dataclass(frozen=True)
class Agreement:
    """How far two sets of trajectories are the same.

    Attributes:
        targets: how many were compared.
        same: targets whose clicks are all the same.
        clicks: clicks that were compared.
        same_clicks: clicks before the first one of their target that differs.
        mean_iou: of the masks after the same clicks; NaN without any.
        least_iou: of the same masks.
    """

    targets: int
    same: int
    clicks: int
    same_clicks: int
    mean_iou: float
    least_iou: float

    def __str__(self) -> str:
        return (
            f"all clicks the same in {self.same} of {self.targets} targets, "
            f"{self.same_clicks} of {self.clicks} clicks; masks after the same clicks: "
            f"IoU mean {self.mean_iou:.6f}, least {self.least_iou:.6f}"
        )


def agreement(ours: Sequence[Trajectory], theirs: Sequence[list[PlainStep]]) -> Agreement:
    """Compare steps up to the first click that differs."""
    same = clicks = 0
    ious: list[float] = []
    for our, their in zip(ours, theirs, strict=True):
        actions = [step.action for step in our.steps if isinstance(step.action, Click)]
        same += actions == [click for click, _, _ in their]
        clicks += len(their)
        for step, (click, mask, _) in zip(our.steps, their, strict=False):
            if step.action != click:
                break
            ious.append(mask_iou(decode_rle(step.mask), decode_rle(mask)))
    return Agreement(
        targets=len(theirs),
        same=same,
        clicks=clicks,
        same_clicks=len(ious),
        mean_iou=float(np.mean(ious)) if ious else float("nan"),
        least_iou=float(np.min(ious)) if ious else float("nan"),
    )


def matrix_product_flops(
    device: str, precision: torch.dtype, *, side: int | None = None, times: int = 6
) -> float:
    """Return the best of some products of square matrices of random numbers, in FLOP/s.

    Args:
        side: None takes 2048 on the CPU, 8192 elsewhere.
    """
    side = side or (2048 if device == "cpu" else 8192)
    a = torch.randn(side, side, device=device, dtype=precision)
    b = torch.randn(side, side, device=device, dtype=precision)
    seconds = []
    for _ in range(times):
        wait(device)
        started = time.perf_counter()
        _ = a @ b
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def wait(device: str) -> None:
    """Wait for everything that a device was given to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)
