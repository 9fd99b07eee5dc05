"""The interfaces that a user can implement: segmenter, click policy, data set reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import (
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    NoObject,
    Reject,
    Target,
    TargetRef,
    Undo,
)

Image = NDArray[np.uint8]
"""RGB. Shape: (H, W, 3)."""
Mask = NDArray[np.bool_]
"""Shape: (H, W)."""


@dataclass(frozen=True)
class Prediction:
    """A segmenter's answer.

    Attributes:
        mask: bool. Shape: (H, W) of the image.
        score: the segmenter's estimate of the mask's IoU, or None.
        feedback: handed back to the segmenter on the target's next step; may be None.

    >>> Prediction(mask=np.ones((2, 3), dtype=bool), score=0.9, feedback=None).score
    0.9
    """

    mask: Mask
    score: float | None = None
    feedback: Any = None


@dataclass(frozen=True)
class Request:
    """What a segmenter is asked: all clicks so far (oldest first), box, its last feedback."""

    clicks: tuple[Click, ...]
    box: Box | None = None
    feedback: Any = None


@runtime_checkable
class Segmenter(Protocol):
    """An interactive segmentation tool.

    One instance serves many images, one after another, and many targets of the current image:
    state of a target must travel through `feedback`.

    >>> from hlmat import Prediction, build_target, roll_out
    >>> class Square:
    ...     def set_image(self, image):
    ...         self.shape = image.shape[:2]
    ...     def predict(self, *, clicks, box=None, feedback=None):
    ...         mask = np.zeros(self.shape, dtype=bool)
    ...         mask[clicks[0].y - 3 : clicks[0].y + 4, clicks[0].x - 3 : clicks[0].x + 4] = True
    ...         return Prediction(mask=mask, score=None, feedback=None)
    >>> truth = np.zeros((20, 20), dtype=bool)
    >>> truth[4:11, 6:13] = True
    >>> image = np.zeros((20, 20, 3), dtype=np.uint8)
    >>> roll_out(build_target(truth), image, segmenter=Square()).final_iou
    1.0
    """

    def set_image(self, image: Image) -> None:
        """Take the image that the next predictions are about.

        Args:
            image: uint8 RGB. Shape: (H, W, 3). Must not be changed.
        """
        ...

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        """Segment the object that the prompts point at.

        Args:
            clicks: every click so far, oldest first; may be empty when there is a box.
            box: a box around the object, or None.
            feedback: what the last prediction for the same target returned as its feedback.
        """
        ...


@runtime_checkable
class BatchSegmenter(Segmenter, Protocol):
    """A segmenter that answers several targets of the current image in one call."""

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Answer each request as `predict` would.

        All have the same number of clicks, and all or none a box.
        """
        ...


@runtime_checkable
class ManyImagesSegmenter(BatchSegmenter, Protocol):
    """A segmenter that encodes several images in one call and answers about all of them at once.

    The caller keeps the encoded images; these methods hold no image.
    """

    @property
    def leaves_cpu_free(self) -> bool:
        """Whether it encodes on its own device, so that encoding ahead pays."""
        ...

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        """Encode each image; may run in another thread during `predict_many`."""
        ...

    def predict_many(self, pairs: Sequence[tuple[Any, Request]]) -> list[Prediction]:
        """Answer each request about the encoded image paired with it, as `predict` would.

        Requests have the same number of clicks unless the policy takes actions back or adds boxes
        (`EditingPolicy`).
        """
        ...


@runtime_checkable
class MaskPromptSegmenter(Segmenter, Protocol):
    """A segmenter that can refine a mask that it did not predict."""

    def feedback_of(self, mask: Mask) -> Any:
        """Return the feedback that an earlier prediction of this mask would have left.

        It is passed with the first click.

        Args:
            mask: bool, not empty, of the size of the image. Shape: (H, W). Must not be changed.
        """
        ...


@runtime_checkable
class TextSegmenter(Segmenter, Protocol):
    """A segmenter that also finds the object that a text names, for `--initial-action text`."""

    def load_texts(self) -> None:
        """Get ready for `predict_texts`; called once, before the first image.

        Raises:
            ConfigError: it cannot take texts, for instance because its weights have no part that
                does.
        """
        ...

    def predict_texts(self, image: Image, texts: Sequence[str]) -> list[Prediction]:
        """Segment the object that each text names; feedback is not used.

        Args:
            image: uint8 RGB, not necessarily the one that was set. Shape: (H, W, 3). Must not be
                changed.
            texts: at least one.
        """
        ...


@runtime_checkable
class HasIdentity(Protocol):
    """A segmenter that states its identity, a part of the run's fingerprint."""

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what determines the answers; the key `weights_sha256` is carried to the rows."""
        ...


PolicyAction = Click | Box | Undo | Finish | NoObject | InvalidAction | Answer
"""A policy's answer: an action, or a model's text with the action parsed from it."""


@dataclass(frozen=True)
class State:
    """What a policy sees before it acts.

    Attributes:
        target: the target, for its id and expressions.
        image: uint8 RGB. Shape: (H, W, 3).
        mask: the current mask; all False before the first action. Shape: (H, W).
        clicks: every click that is in effect, oldest first.
        truth: ground truth, for oracles alone. Shape: (H, W).
        ignore: pixels that belong to no error, or None. Shape: (H, W).
        part: rows and columns outside of which neither mask nor truth has a pixel; None if they
            are not known.
        image_truths: ground truth of the image's targets, this one's included, as far as they are
            rolled out together; may be empty. Shape: (H, W) each.
        turn: how many actions the policy has taken, those taken back included.

    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> class FirstPixel:
    ...     name = "first-pixel"
    ...     def initial_clicks(self, state):
    ...         return ()
    ...     def next_actions(self, states):
    ...         return [self.click(state) for state in states]
    ...     def click(self, state):
    ...         ys, xs = np.nonzero(state.truth)
    ...         return Click(int(xs[0]), int(ys[0]), True)
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> roll_out(
    ...     build_target(truth), image, segmenter=load_segmenter(), policy=FirstPixel()
    ... ).steps[0].action
    Click(x=20, y=10, is_positive=True)
    """

    target: Target
    image: Image
    mask: Mask
    clicks: tuple[Click, ...]
    truth: Mask
    ignore: Mask | None
    part: tuple[slice, slice] | None = None
    image_truths: Sequence[Mask] = ()
    turn: int = 0


class ClickPolicy(Protocol):
    """Chooses the next action.

    >>> from hlmat.transforms.policies.oracle import OraclePolicy
    >>> policy: ClickPolicy = OraclePolicy()
    >>> policy.name
    'oracle'
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return the clicks that set up the first state, oldest first; often none.

        They are made in order before the first call of `next_actions`, are not used as training
        samples, and need not improve the mask. Deterministic for a state.
        """
        ...

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Return one action per state, in order."""
        ...


@runtime_checkable
class StatewisePolicy(ClickPolicy, Protocol):
    """A policy that treats each state independently, so that threads can share the work."""

    def next_action(self, state: State) -> PolicyAction:
        """Return the action for one state."""
        ...


@runtime_checkable
class BoxPolicy(ClickPolicy, Protocol):
    """A policy that can also draw the box with which a trajectory begins."""

    def initial_boxes(self, states: Sequence[State]) -> list[Answer]:
        """Return one answer per state; an answer other than a box ends the trajectory."""
        ...


@runtime_checkable
class EditingPolicy(ClickPolicy, Protocol):
    """A policy that may do more than click: take its last action back, or draw a box later on."""

    @property
    def edits(self) -> frozenset[type]:
        """Which of `Undo` and `Box` it may choose; any other is an invalid action.

        With `Undo`, a rollout keeps the segmenter's feedback of every step.
        """
        ...


@runtime_checkable
class SamplingPolicy(ClickPolicy, Protocol):
    """A policy that can sample several answers to one state, for tree search."""

    def sample_actions(
        self, states: Sequence[State], *, count: int, temperature: float
    ) -> list[list[PolicyAction]]:
        """Return `count` samples for each state, in addition to what `next_actions` returns.

        A sample depends on the state, its index and the policy's seed, not on the batch.
        """
        ...


@dataclass(frozen=True)
class TruthMasks:
    """A target's masks as read.

    Attributes:
        truth: bool. Shape: (H, W).
        ignore: bool, disjoint from `truth`; None where the data set has none. Shape: (H, W).
    """

    truth: Mask
    ignore: Mask | None = None


@runtime_checkable
class HasRemarks(Protocol):
    """A reader with remarks about its data."""

    def remarks(self) -> list[str]:
        """Return what is odd about the data, a sentence each."""
        ...


class DatasetReader(Protocol):
    """Lists the targets of one split and loads their pixels.

    A reader is small and picklable: it is sent to the workers, unlike the tables that it reads
    while listing.

    >>> from hlmat import open_dataset
    >>> sum(1 for _ in open_dataset("shapes").read_targets())
    112
    """

    @property
    def name(self) -> str:
        """The `--dataset` name."""
        ...

    @property
    def split(self) -> str:
        """The data set's own name of the split."""
        ...

    def describe_layout(self) -> str:
        """Return one line on which layout was recognised, and where."""
        ...

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List every target of the split in a fixed order; yield a `Reject` for an unusable one.

        The targets of one image are consecutive.
        """
        ...

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's masks at full resolution.

        The truth has no pixel only where the data set says that its expressions name nothing.

        Raises:
            TargetError: missing, unreadable, malformed or empty.
        """
        ...

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB, turned by its EXIF tag only if `size_hw` needs it.

        Args:
            image_path: `TargetRef.image_path`.
            size_hw: height and width of the mask that belongs to it.

        Raises:
            TargetError: missing, unreadable, or of another size.
        """
        ...
