"""From a work unit to its trajectories and rejects: read, filter, roll out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import cv2
import numpy as np

from transforms.errors import SegmenterError, TargetError
from transforms.initial_boxes import jittered_box, truth_box
from transforms.masks import encode_mask
from transforms.policies.registry import make_policy
from transforms.protocols import ClickPolicy, DatasetReader, Image, Segmenter, TruthMasks
from transforms.randomness import target_rng
from transforms.records import Box, Provenance, Reject, RejectReason, Target, TargetRef, Trajectory
from transforms.rollout import Episode, Limits, is_out_of_memory, roll_out_all
from transforms.segmenters.registry import SegmenterOptions, load_segmenter
from transforms.work_units import WorkUnit


class InitialAction(StrEnum):
    """What the segmenter is given before the first click."""

    NONE = "none"
    BOX = "box"
    JITTERED_BOX = "jittered-box"


@dataclass(frozen=True)
class AreaFilter:
    """Which truth masks are wanted, by their area in pixels, both bounds included."""

    min_area: int | None = None
    max_area: int | None = None

    def problem(self, area: int) -> str | None:
        """Return why a mask is left out, None if it is wanted."""
        if self.min_area is not None and area < self.min_area:
            return f"the mask has {area} pixels, fewer than the minimum of {self.min_area}"
        if self.max_area is not None and area > self.max_area:
            return f"the mask has {area} pixels, more than the maximum of {self.max_area}"
        return None


@dataclass(frozen=True)
class Simulation:
    """Everything that turns targets into trajectories.

    Attributes:
        initial_action: what the segmenter is given before the first click.
        seed: of everything random.
    """

    reader: DatasetReader
    segmenter: Segmenter
    policy: ClickPolicy
    limits: Limits
    provenance: Provenance
    initial_action: InitialAction = InitialAction.NONE
    area_filter: AreaFilter = AreaFilter()
    seed: int = 0


@dataclass(frozen=True)
class SimulationRecipe:
    """What a worker makes its `Simulation` from: small, picklable, no weights.

    Calling it loads the segmenter.

    Attributes:
        initial_points: how many points the policies "random" and "grid" set up.
        single_threaded: keep OpenCV to one thread, when every core has a worker of its own.
    """

    reader: DatasetReader
    segmenter: SegmenterOptions
    policy: str
    initial_points: int
    initial_action: InitialAction
    limits: Limits
    area_filter: AreaFilter
    seed: int
    provenance: Provenance
    single_threaded: bool

    def __call__(self) -> Simulation:
        """Load the segmenter and put everything together.

        Raises:
            ConfigError: whatever the segmenter or the policy finds missing.
        """
        if self.single_threaded:
            cv2.setNumThreads(1)
        return Simulation(
            reader=self.reader,
            segmenter=load_segmenter(self.segmenter),
            policy=make_policy(self.policy, seed=self.seed, num_initial=self.initial_points),
            limits=self.limits,
            provenance=self.provenance,
            initial_action=self.initial_action,
            area_filter=self.area_filter,
            seed=self.seed,
        )


def simulate_unit(unit: WorkUnit, simulation: Simulation) -> list[Trajectory | Reject]:
    """Roll out every target of a unit; each item gives one trajectory or one reject, in order.

    The targets of an image are rolled out together after one `set_image`.
    """
    outcomes: dict[int, Trajectory | Reject] = {}
    loaded: list[tuple[int, TargetRef, TruthMasks]] = []
    for position, item in enumerate(unit.items):
        if isinstance(item, Reject):
            outcomes[position] = item
            continue
        truth = _load_truth(item, simulation)
        if isinstance(truth, Reject):
            outcomes[position] = truth
        else:
            loaded.append((position, item, truth))
    for (image_path, size_hw), group in groupby(
        loaded, key=lambda entry: (entry[1].image_path, entry[2].truth.shape)
    ):
        entries = list(group)
        results = _simulate_image(
            image_path,
            [(ref, truth) for _, ref, truth in entries],
            size_hw=(size_hw[0], size_hw[1]),
            simulation=simulation,
        )
        outcomes.update(zip((position for position, _, _ in entries), results, strict=True))
    return [outcomes[position] for position in range(len(unit.items))]


def _load_truth(ref: TargetRef, simulation: Simulation) -> TruthMasks | Reject:
    try:
        masks = simulation.reader.load_truth(ref)
    except TargetError as error:
        return Reject(ref=ref, reason=error.reason, message=error.message)
    except MemoryError as error:
        return Reject(ref, RejectReason.OUT_OF_MEMORY, f"reading the mask: {error}")
    problem = simulation.area_filter.problem(int(np.count_nonzero(masks.truth)))
    if problem is not None:
        return Reject(ref=ref, reason=RejectReason.OUTSIDE_AREA_FILTER, message=problem)
    return masks


def _simulate_image(
    image_path: str,
    targets: Sequence[tuple[TargetRef, TruthMasks]],
    *,
    size_hw: tuple[int, int],
    simulation: Simulation,
) -> list[Trajectory | Reject]:
    refs = [ref for ref, _ in targets]
    try:
        image = simulation.reader.load_image(image_path, size_hw=size_hw)
    except TargetError as error:
        return [Reject(ref, error.reason, error.message) for ref in refs]
    except MemoryError as error:
        message = f"reading the image: {error}"
        return [Reject(ref, RejectReason.OUT_OF_MEMORY, message) for ref in refs]
    failure = _set_image(image, simulation.segmenter)
    if failure is not None:
        return [Reject(ref, *failure) for ref in refs]
    outcomes = roll_out_all(
        list(_episodes(targets, simulation)),
        image=image,
        segmenter=simulation.segmenter,
        policy=simulation.policy,
        limits=simulation.limits,
        provenance=simulation.provenance,
    )
    return [
        Reject(ref, _failure_reason(outcome), str(outcome))
        if isinstance(outcome, SegmenterError)
        else outcome
        for ref, outcome in zip(refs, outcomes, strict=True)
    ]


def _set_image(image: Image, segmenter: Segmenter) -> tuple[RejectReason, str] | None:
    try:
        segmenter.set_image(image)
    # A segmenter is anybody's code: whatever it raises must cost this image's targets alone.
    except Exception as error:
        reason = (
            RejectReason.OUT_OF_MEMORY if is_out_of_memory(error) else RejectReason.SEGMENTER_FAILED
        )
        return reason, f"{type(segmenter).__name__}.set_image: {type(error).__name__}: {error}"
    return None


def _failure_reason(error: SegmenterError) -> RejectReason:
    cause = error.__cause__
    if cause is not None and is_out_of_memory(cause):
        return RejectReason.OUT_OF_MEMORY
    return RejectReason.SEGMENTER_FAILED


def _episodes(
    targets: Sequence[tuple[TargetRef, TruthMasks]], simulation: Simulation
) -> Iterator[Episode]:
    for ref, masks in targets:
        ignore = masks.ignore if masks.ignore is not None and masks.ignore.any() else None
        yield Episode(
            target=Target(
                ref=ref,
                truth=encode_mask(masks.truth),
                ignore=None if ignore is None else encode_mask(ignore),
            ),
            truth=masks.truth,
            ignore=ignore,
            initial_box=_initial_box(ref, masks, simulation),
        )


def _initial_box(ref: TargetRef, masks: TruthMasks, simulation: Simulation) -> Box | None:
    match simulation.initial_action:
        case InitialAction.NONE:
            return None
        case InitialAction.BOX:
            return truth_box(masks.truth)
        case InitialAction.JITTERED_BOX:
            rng = target_rng(simulation.seed, ref.target_id, "jittered-box")
            return jittered_box(masks.truth, rng=rng)
