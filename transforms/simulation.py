"""From a work unit to its trajectories and rejects: read, filter, roll out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import cv2
import numpy as np

from transforms.errors import SegmenterError, TargetError
from transforms.initial_boxes import jittered_box, truth_box
from transforms.masks import encode_mask
from transforms.protocols import ClickPolicy, DatasetReader, Image, Segmenter, TruthMasks
from transforms.randomness import target_rng
from transforms.records import Box, Provenance, Reject, RejectReason, Target, TargetRef, Trajectory
from transforms.rollout import Episode, Limits, Picture, roll_out_all
from transforms.segmenter_calls import is_out_of_memory
from transforms.segmenters.registry import SegmenterOptions, load_segmenter
from transforms.work_units import WorkUnit

_Loaded = tuple[int, TargetRef, TruthMasks]
"""A target with its masks, and its position in the unit."""


class InitialAction(StrEnum):
    """What the segmenter is given before the first click."""

    NONE = "none"
    BOX = "box"
    JITTERED_BOX = "jittered-box"
    POLICY_BOX = "policy-box"


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
        images_at_once: how many images' targets the policy is asked about together.
    """

    reader: DatasetReader
    segmenter: Segmenter
    policy: ClickPolicy
    limits: Limits
    provenance: Provenance
    initial_action: InitialAction = InitialAction.NONE
    area_filter: AreaFilter = AreaFilter()
    seed: int = 0
    images_at_once: int = 1


@dataclass(frozen=True)
class SimulationRecipe:
    """What a worker makes its `Simulation` from: small, picklable, no weights.

    Calling it loads the segmenter and whatever the policy needs.

    Attributes:
        make_policy: makes the policy on the worker; picklable, holds no weights.
        single_threaded: keep OpenCV to one thread, when every core has a worker of its own.
    """

    reader: DatasetReader
    segmenter: SegmenterOptions
    make_policy: Callable[[], ClickPolicy]
    initial_action: InitialAction
    limits: Limits
    area_filter: AreaFilter
    seed: int
    provenance: Provenance
    single_threaded: bool
    images_at_once: int = 1

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
            policy=self.make_policy(),
            limits=self.limits,
            provenance=self.provenance,
            initial_action=self.initial_action,
            area_filter=self.area_filter,
            seed=self.seed,
            images_at_once=self.images_at_once,
        )


def simulate_unit(unit: WorkUnit, simulation: Simulation) -> list[Trajectory | Reject]:
    """Roll out every target of a unit; each item gives one trajectory or one reject, in order.

    The targets of an image are rolled out together.

    Raises:
        AnswerError: the policy's model cannot answer; the unit can be worked on again.
    """
    outcomes: dict[int, Trajectory | Reject] = {}
    loaded: list[_Loaded] = []
    for position, item in enumerate(unit.items):
        if isinstance(item, Reject):
            outcomes[position] = item
            continue
        truth = _load_truth(item, simulation)
        if isinstance(truth, Reject):
            outcomes[position] = truth
        else:
            loaded.append((position, item, truth))
    images = [
        list(group)
        for _, group in groupby(loaded, key=lambda entry: (entry[1].image_path, _size_of(entry)))
    ]
    for start in range(0, len(images), simulation.images_at_once):
        outcomes.update(
            _simulate_images(images[start : start + simulation.images_at_once], simulation)
        )
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


def _simulate_images(
    images: Sequence[Sequence[_Loaded]], simulation: Simulation
) -> dict[int, Trajectory | Reject]:
    """Roll out the targets of several images; return what became of them by position."""
    outcomes: dict[int, Trajectory | Reject] = {}
    pictures: list[Picture] = []
    positions: list[int] = []
    for entries in images:
        image = _load_image(entries[0], simulation.reader)
        if isinstance(image, tuple):
            outcomes.update({p: Reject(ref, *image) for p, ref, _ in entries})
            continue
        targets = [(ref, truth) for _, ref, truth in entries]
        pictures.append(Picture(image, list(_episodes(targets, simulation))))
        positions += [position for position, _, _ in entries]
    results = roll_out_all(
        pictures,
        segmenter=simulation.segmenter,
        policy=simulation.policy,
        limits=simulation.limits,
        provenance=simulation.provenance,
        policy_draws_boxes=simulation.initial_action is InitialAction.POLICY_BOX,
    )
    refs = [episode.target.ref for picture in pictures for episode in picture.episodes]
    flat = [outcome for group in results for outcome in group]
    for position, ref, outcome in zip(positions, refs, flat, strict=True):
        outcomes[position] = (
            Reject(ref, _failure_reason(outcome), str(outcome))
            if isinstance(outcome, SegmenterError)
            else outcome
        )
    return outcomes


def _load_image(entry: _Loaded, reader: DatasetReader) -> Image | tuple[RejectReason, str]:
    """Load the picture of a target, or say why its targets are rejected."""
    try:
        return reader.load_image(entry[1].image_path, size_hw=_size_of(entry))
    except TargetError as error:
        return error.reason, error.message
    except MemoryError as error:
        return RejectReason.OUT_OF_MEMORY, f"reading the image: {error}"


def _size_of(entry: _Loaded) -> tuple[int, int]:
    height, width = entry[2].truth.shape
    return height, width


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
        case InitialAction.NONE | InitialAction.POLICY_BOX:
            return None
        case InitialAction.BOX:
            return truth_box(masks.truth)
        case InitialAction.JITTERED_BOX:
            rng = target_rng(simulation.seed, ref.target_id, "jittered-box")
            return jittered_box(masks.truth, rng=rng)
