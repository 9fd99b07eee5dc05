"""Annotation states: a loaded target with its mask, clicks and IoU, and the step from a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import (
    DatasetReader,
    Image,
    ManyImagesSegmenter,
    Mask,
    Request,
    Segmenter,
)
from hlmat.transforms.core.records import Click, Reject, TargetRef
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.rollout.segmenter_batching import SegmenterSession, encode_all


@dataclass(frozen=True)
class TargetSource:
    """A target and the reader that opens it; small and picklable."""

    reader: DatasetReader
    ref: TargetRef


def no_object_reward(truth: Mask) -> float:
    """Return the reward of answering that the image has no such object: 1 if right, else -1.

    Args:
        truth: the true mask. Shape: (H, W).
    """
    return -1.0 if truth.any() else 1.0


def list_targets(
    reader: DatasetReader, *, limit: int | None = None
) -> tuple[list[TargetSource], list[Reject]]:
    """List a reader's targets and rejects, both in reader order.

    Args:
        reader: the data set.
        limit: largest number of targets; None lists all.
    """
    targets: list[TargetSource] = []
    rejects: list[Reject] = []
    for item in reader.read_targets():
        if limit is not None and len(targets) >= limit:
            break
        if isinstance(item, Reject):
            rejects.append(item)
        else:
            targets.append(TargetSource(reader, item))
    return targets, rejects


@dataclass(frozen=True, eq=False)
class LoadedTarget:
    """A target with its pixels.

    Attributes:
        ref: identity and expressions.
        image: uint8 RGB. Shape: (H, W, 3).
        truth: bool. Shape: (H, W).
        ignore: bool, pixels left out of IoU and errors, or None. Shape: (H, W).
        encoded: the image as encoded by a `ManyImagesSegmenter`; None for other segmenters.
    """

    ref: TargetRef
    image: Image
    truth: Mask
    ignore: Mask | None
    encoded: Any | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.truth.shape[0], self.truth.shape[1]


def load_target(source: TargetSource, segmenter: Segmenter) -> LoadedTarget:
    """Read a target's masks and image; encode the image if the segmenter can.

    Raises:
        TargetError: the target cannot be read.
        SegmenterError: the image cannot be encoded.
    """
    masks = source.reader.load_truth(source.ref)
    size_hw = (masks.truth.shape[0], masks.truth.shape[1])
    image = source.reader.load_image(source.ref.image_path, size_hw=size_hw)
    encoded = None
    if isinstance(segmenter, ManyImagesSegmenter):
        encoded = encode_all(segmenter, [image])[0]
        if isinstance(encoded, SegmenterError):
            raise encoded
    return LoadedTarget(source.ref, image, masks.truth, masks.ignore, encoded)


@dataclass(frozen=True, eq=False)
class AnnotationState:
    """The annotation of a target after some clicks.

    Attributes:
        target: the target.
        mask: bool, the current mask. Shape: (H, W).
        clicks: every click that is in effect, oldest first.
        feedback: passed back to the segmenter with the next click.
        iou: of mask and truth, in [0, 1], without ignored pixels.
        before: the state before the last of these clicks, which an undo brings back; None without
            any.
    """

    target: LoadedTarget
    mask: Mask
    clicks: tuple[Click, ...]
    feedback: Any
    iou: float
    before: AnnotationState | None = None


def first_state(target: LoadedTarget) -> AnnotationState:
    """Return the state before any click: an empty mask."""
    mask = np.zeros(target.size_hw, dtype=np.bool_)
    iou = mask_iou(mask, target.truth, ignore=target.ignore)
    return AnnotationState(target, mask, (), None, iou)


def click_all(
    clicks: Sequence[tuple[AnnotationState, Click]], *, segmenter: Segmenter
) -> list[AnnotationState]:
    """Make one click in each state; return the resulting states, in order.

    Every call sets the image of a single-image segmenter again, so that several callers can share
    it. A `ManyImagesSegmenter` answers all states with the same number of clicks in one call.

    Raises:
        SegmenterError: the segmenter failed or broke its protocol.
    """
    targets = list({id(state.target): state.target for state, _ in clicks}.values())
    index_of = {id(target): index for index, target in enumerate(targets)}
    encoded = [target.encoded for target in targets]
    session = SegmenterSession(
        segmenter,
        [target.image for target in targets],
        encoded=encoded if isinstance(segmenter, ManyImagesSegmenter) else None,
    )
    after: dict[int, AnnotationState] = {}
    for count in sorted({len(state.clicks) for state, _ in clicks}):
        positions = [i for i, (state, _) in enumerate(clicks) if len(state.clicks) == count]
        requests = [
            (
                index_of[id(clicks[i][0].target)],
                Request((*clicks[i][0].clicks, clicks[i][1]), feedback=clicks[i][0].feedback),
            )
            for i in positions
        ]
        for i, (_, request), answer in zip(positions, requests, session.ask(requests), strict=True):
            if isinstance(answer, SegmenterError):
                raise answer
            before = clicks[i][0]
            target = before.target
            iou = mask_iou(answer.mask, target.truth, ignore=target.ignore)
            after[i] = AnnotationState(
                target, answer.mask, request.clicks, answer.feedback, iou, before
            )
    return [after[i] for i in range(len(clicks))]
