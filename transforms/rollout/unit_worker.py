"""From a work unit to its trajectories and rejects: read, filter, roll out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import cv2

from hlmat.transforms.core.errors import SegmenterError, is_out_of_memory
from hlmat.transforms.core.protocols import (
    ClickPolicy,
    DatasetReader,
    ManyImagesSegmenter,
    Mask,
    Segmenter,
    TruthMasks,
)
from hlmat.transforms.core.records import (
    Box,
    Click,
    Provenance,
    Reject,
    RejectReason,
    Target,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.core.watchdog import Watchdog
from hlmat.transforms.dataset_io.work_units import WorkUnit
from hlmat.transforms.masks.boxes import jittered_box, truth_box
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.oracle.wrong_click import wrong_click
from hlmat.transforms.rollout.loop import Episode, ImageEpisodes, roll_out_all
from hlmat.transforms.rollout.options import (
    AreaFilter,
    FirstMask,
    InitialAction,
    Limits,
    SearchOptions,
)
from hlmat.transforms.rollout.segmenter_batching import encode_all, load_texts
from hlmat.transforms.rollout.tree_search import search_all
from hlmat.transforms.rollout.unit_images import Scene, UnitImages
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter

_IMAGES_AT_ONCE = 32
"""For a segmenter that takes many: enough to fill a device, few enough to encode the next batch
while this one is rolled out."""

_STALL_ADVICE = "repair the segmenter, or give --segmenter-timeout more seconds if it is only slow"


@dataclass(frozen=True)
class Simulation:
    """Everything needed to turn targets into trajectories.

    Attributes:
        initial_action: what the segmenter gets before the first click.
        seed: of all randomness.
        images_at_once: minimum number of images whose targets the policy handles together.
        threads: search clicks and encode masks.
        readers: threads that read images; None to use `threads`.
        search: how to try several candidate clicks in each state; None tries only the policy's
            click.
        first_mask: the mask that rollouts begin with; None for an empty one.
        watchdog: watches the segmenter's calls.
    """

    reader: DatasetReader
    segmenter: Segmenter
    policy: ClickPolicy
    limits: Limits
    provenance: Provenance
    initial_action: InitialAction = InitialAction.NONE
    area_filter: AreaFilter = field(default_factory=AreaFilter)
    seed: int = 0
    images_at_once: int = 1
    threads: Threads = field(default_factory=Threads)
    readers: Threads | None = None
    search: SearchOptions | None = None
    first_mask: FirstMask | None = None
    watchdog: Watchdog | None = None


@dataclass(frozen=True)
class RolloutSettings:
    """Settings from which a worker builds its `Simulation`: small, picklable, without weights.

    Calling it loads the segmenter and the policy.

    Attributes:
        build_policy: builds the policy on the worker; picklable, has no weights.
        num_threads: per worker; None takes all cores of the worker's machine.
        num_readers: threads that read images; None for the same number.
        search: as in `Simulation`.
        first_mask: as in `Simulation`.
    """

    reader: DatasetReader
    segmenter: SegmenterOptions
    build_policy: Callable[[], ClickPolicy]
    initial_action: InitialAction
    limits: Limits
    area_filter: AreaFilter
    seed: int
    provenance: Provenance
    num_threads: int | None = None
    num_readers: int | None = None
    images_at_once: int = 1
    search: SearchOptions | None = None
    first_mask: FirstMask | None = None

    def __call__(self) -> Simulation:
        """Load the segmenter and build the simulation.

        Raises:
            ConfigError: the segmenter or the policy cannot be loaded.
        """
        threads = Threads(self.num_threads or available_cores())
        cv2.setNumThreads(threads.count)
        segmenter = load_segmenter(self.segmenter, threads=threads)
        if self.initial_action is InitialAction.TEXT:
            load_texts(segmenter, name=self.segmenter.name)
        return Simulation(
            reader=self.reader,
            segmenter=segmenter,
            policy=self.build_policy(),
            limits=self.limits,
            provenance=self.provenance,
            initial_action=self.initial_action,
            area_filter=self.area_filter,
            seed=self.seed,
            images_at_once=self.images_at_once,
            threads=threads,
            readers=None if self.num_readers is None else Threads(self.num_readers),
            search=self.search,
            first_mask=self.first_mask,
            watchdog=Watchdog(self.segmenter.timeout_s, _STALL_ADVICE),
        )


def simulate_unit(unit: WorkUnit, simulation: Simulation) -> list[Trajectory | Reject]:
    """Roll out every target of a unit; each item gives one trajectory or one reject, in order.

    The targets of an image are rolled out together. Images are read ahead on threads, and also
    encoded ahead if the segmenter runs on a device other than the CPU.

    Raises:
        AnswerError: the policy's model cannot answer; the unit can be retried.
    """
    images = UnitImages(
        simulation.reader,
        simulation.area_filter,
        simulation.seed,
        simulation.first_mask,
        simulation.readers or simulation.threads,
    )
    rejects: dict[int, Reject] = {}
    outcomes: dict[int, Trajectory | Reject] = {}
    batches = images.batches(unit.items, max_scenes=_images_at_once(simulation), rejects=rejects)
    for batch in _encoded_ahead(batches, simulation):
        outcomes.update(_roll_out(batch, simulation))
        # Large images are in memory one at a time.
        del batch
    outcomes.update(rejects)
    return [outcomes[position] for position in range(len(unit.items))]


def _encoded_ahead(batches: Iterator[list[Scene]], simulation: Simulation) -> Iterator[list[Scene]]:
    """Encode the next batch during a rollout, if the encoder has its own device."""
    segmenter = simulation.segmenter
    if not isinstance(segmenter, ManyImagesSegmenter) or not segmenter.leaves_cpu_free:
        return batches

    def encode(batch: list[Scene]) -> list[Scene]:
        encoded = encode_all(
            segmenter, [scene.image for scene in batch], watchdog=simulation.watchdog
        )
        return [replace(s, encoded=e) for s, e in zip(batch, encoded, strict=True)]

    return Threads().map_ahead(encode, batches, ahead=1)


def _images_at_once(simulation: Simulation) -> int:
    if isinstance(simulation.segmenter, ManyImagesSegmenter):
        return max(simulation.images_at_once, _IMAGES_AT_ONCE)
    return simulation.images_at_once


def _roll_out(scenes: Sequence[Scene], simulation: Simulation) -> dict[int, Trajectory | Reject]:
    """Roll out the targets of several images; return their outcomes by position."""
    images = [
        ImageEpisodes(scene.image, list(_episodes(scene, simulation)), encoded=scene.encoded)
        for scene in scenes
    ]
    roll_out = (
        roll_out_all
        if simulation.search is None
        else partial(search_all, options=simulation.search)
    )
    results = roll_out(
        images,
        segmenter=simulation.segmenter,
        policy=simulation.policy,
        limits=simulation.limits,
        provenance=simulation.provenance,
        policy_draws_boxes=simulation.initial_action is InitialAction.POLICY_BOX,
        starts_by_text=simulation.initial_action is InitialAction.TEXT,
        threads=simulation.threads,
        watchdog=simulation.watchdog,
    )
    outcomes: dict[int, Trajectory | Reject] = {}
    for scene, of_scene in zip(scenes, results, strict=True):
        for target, outcome in zip(scene.targets, of_scene, strict=True):
            outcomes[target.position] = (
                Reject(target.ref, _failure_reason(outcome), str(outcome))
                if isinstance(outcome, SegmenterError)
                else outcome
            )
    return outcomes


def _failure_reason(error: SegmenterError) -> RejectReason:
    cause = error.__cause__
    if cause is not None and is_out_of_memory(cause):
        return RejectReason.OUT_OF_MEMORY
    return RejectReason.SEGMENTER_FAILED


def _episodes(scene: Scene, simulation: Simulation) -> Iterator[Episode]:
    image_truths = tuple(target.masks.truth for target in scene.targets)
    for _, ref, masks, first in scene.targets:
        ignore = masks.ignore if masks.ignore is not None and masks.ignore.any() else None
        yield Episode(
            target=Target(
                ref=ref,
                truth=encode_mask(masks.truth),
                ignore=None if ignore is None else encode_mask(ignore),
                image_digest=scene.digest,
            ),
            truth=masks.truth,
            ignore=ignore,
            initial_box=_initial_box(ref, masks, simulation),
            initial_click=_initial_click(ref, masks, image_truths, simulation),
            initial_mask=first,
            image_truths=image_truths,
        )


def _initial_box(ref: TargetRef, masks: TruthMasks, simulation: Simulation) -> Box | None:
    if not masks.truth.any():
        return None
    match simulation.initial_action:
        case (
            InitialAction.NONE
            | InitialAction.POLICY_BOX
            | InitialAction.WRONG_CLICK
            | InitialAction.TEXT
        ):
            return None
        case InitialAction.BOX:
            return truth_box(masks.truth)
        case InitialAction.JITTERED_BOX:
            rng = target_rng(simulation.seed, ref.target_id, "jittered-box")
            return jittered_box(masks.truth, rng=rng)


def _initial_click(
    ref: TargetRef, masks: TruthMasks, image_truths: Sequence[Mask], simulation: Simulation
) -> Click | None:
    if simulation.initial_action is not InitialAction.WRONG_CLICK or not masks.truth.any():
        return None
    rng = target_rng(simulation.seed, ref.target_id, "wrong-click")
    return wrong_click(masks.truth, rng=rng, others=image_truths, excluded=masks.ignore)
