"""Ask a segmenter about several images in batches, and check its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import (
    BatchSegmenter,
    Image,
    ManyImagesSegmenter,
    Mask,
    MaskPromptSegmenter,
    Prediction,
    Request,
    Segmenter,
)
from hlmat.transforms.core.records import Box
from hlmat.transforms.masks.rle import mask_box

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StartingPoint:
    """How an initial mask is passed to a segmenter.

    Attributes:
        feedback: comes with the first click.
        box: the mask's box, for a segmenter that takes no mask; else None.
    """

    feedback: Any = None
    box: Box | None = None


class SegmenterSession:
    """Asks one segmenter about several images, encoding each once if the tool allows it.

    A plain segmenter holds one image, so images are set in turn.

    Args:
        segmenter: the tool.
        images: uint8 RGB. Shape of each: (H, W, 3).
        encoded: results of an earlier `ManyImagesSegmenter.encode_images`, an error in place of
            a failed one; None to encode on demand.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        images: Sequence[Image],
        *,
        encoded: Sequence[Any | SegmenterError] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._images = images
        self._encoded = encoded
        self._current: int | None = None

    def ask(self, questions: Sequence[tuple[int, Request]]) -> list[Prediction | SegmenterError]:
        """Answer requests, each about the image at its index; return failures as values.

        A failing batch is halved until the failing request is alone.
        """
        if isinstance(self._segmenter, ManyImagesSegmenter):
            return self._ask_about_many(self._segmenter, questions)
        batches: dict[tuple[int, int], list[int]] = {}
        for position, (image, request) in enumerate(questions):
            batches.setdefault((image, len(request.clicks)), []).append(position)
        answers: dict[int, Prediction | SegmenterError] = {}
        for (image, _), positions in batches.items():
            requests = [questions[position][1] for position in positions]
            failure = self._set_image(image)
            found = [failure] * len(requests) if failure else self._ask_about_current(requests)
            answers.update(zip(positions, found, strict=True))
        return [answers[position] for position in range(len(questions))]

    def start_from(self, mask: Mask) -> StartingPoint | SegmenterError:
        """Return how the segmenter starts from a given mask; return a failure as a value.

        Args:
            mask: bool, not empty, of its image's size. Shape: (H, W).
        """
        segmenter = self._segmenter
        if not isinstance(segmenter, MaskPromptSegmenter):
            return StartingPoint(box=mask_box(mask))
        try:
            return StartingPoint(feedback=segmenter.feedback_of(mask))
        # A segmenter is third-party code: an error must affect this target only.
        except Exception as error:
            return _failure(f"{type(segmenter).__name__}.feedback_of", error)

    def _ask_about_many(
        self, segmenter: ManyImagesSegmenter, questions: Sequence[tuple[int, Request]]
    ) -> list[Prediction | SegmenterError]:
        if self._encoded is None:
            self._encoded = encode_all(segmenter, self._images)
        encoded = self._encoded
        answers: dict[int, Prediction | SegmenterError] = {}
        usable: list[int] = []
        for position, (image, _) in enumerate(questions):
            if isinstance(failure := encoded[image], SegmenterError):
                answers[position] = failure
            else:
                usable.append(position)

        def ask(positions: Sequence[int]) -> list[Prediction]:
            pairs = [(encoded[questions[p][0]], questions[p][1]) for p in positions]
            predictions = _counted(segmenter.predict_many(pairs), positions, "predict_many")
            return [
                self._checked(prediction, image=questions[p][0])
                for prediction, p in zip(predictions, positions, strict=True)
            ]

        found = _halving(ask, usable, describe=lambda p: self._at_click(questions[p][1]))
        answers.update(zip(usable, found, strict=True))
        return [answers[position] for position in range(len(questions))]

    def _ask_about_current(self, requests: Sequence[Request]) -> list[Prediction | SegmenterError]:
        segmenter, image = self._segmenter, self._current
        assert image is not None

        def ask(batch: Sequence[Request]) -> list[Prediction]:
            if isinstance(segmenter, BatchSegmenter):
                predictions = _counted(segmenter.predict_batch(batch), batch, "predict_batch")
                return [self._checked(prediction, image=image) for prediction in predictions]
            # Each answer is copied before the next call, which may overwrite its mask.
            return [
                self._checked(
                    segmenter.predict(clicks=r.clicks, box=r.box, feedback=r.feedback), image=image
                )
                for r in batch
            ]

        return _halving(ask, requests, describe=self._at_click)

    def _set_image(self, index: int) -> SegmenterError | None:
        """Set the segmenter's image unless it is set already; return the failure, if any."""
        if self._current == index:
            return None
        self._current = None
        try:
            self._segmenter.set_image(self._images[index])
        # A segmenter is third-party code: an error must affect this image's targets only.
        except Exception as error:
            return _failure(f"{type(self._segmenter).__name__}.set_image", error)
        self._current = index
        return None

    def _at_click(self, request: Request) -> str:
        return f"{type(self._segmenter).__name__} failed at click {len(request.clicks)}"

    def _checked(self, prediction: Any, *, image: int) -> Prediction:
        """Return a copy of an answer after checking it against the protocol."""
        size_hw = self._images[image].shape[:2]
        mask = getattr(prediction, "mask", None)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != size_hw:
            seen = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask)
            raise SegmenterError(
                f"{type(self._segmenter).__name__}.predict must return an object whose `mask` is "
                f"a bool array of shape {tuple(size_hw)}, got {seen}"
            )
        score = getattr(prediction, "score", None)
        return Prediction(
            # A tool may return its own buffer and overwrite it in the next call.
            mask=mask.copy(),
            score=None if score is None else float(score),
            feedback=getattr(prediction, "feedback", None),
        )


def encode_all(
    segmenter: ManyImagesSegmenter, images: Sequence[Image]
) -> list[Any | SegmenterError]:
    """Encode images in one call; halve a failing batch to isolate the failing image.

    Returns:
        One result per image, in order; failures as values.
    """
    return _halving(
        lambda batch: _counted(segmenter.encode_images(batch), batch, "encode_images"),
        images,
        describe=lambda _: f"{type(segmenter).__name__}.encode_images",
    )


def _halving(
    work: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    describe: Callable[[Item], str],
) -> list[Result | SegmenterError]:
    """Process all items in one call; on failure, each half separately."""
    if not items:
        return []
    try:
        return list(work(items))
    # A segmenter is third-party code: an error must affect its targets only.
    except Exception as error:
        if len(items) == 1:
            return [_failure(describe(items[0]), error)]
    middle = len(items) // 2
    return [
        *_halving(work, items[:middle], describe=describe),
        *_halving(work, items[middle:], describe=describe),
    ]


def _counted(answers: Sequence[Result], items: Sequence[Any], method: str) -> list[Result]:
    if len(answers) != len(items):
        raise SegmenterError(f"{method} gave {len(answers)} answers to {len(items)} requests")
    return list(answers)


def _failure(what: str, error: Exception) -> SegmenterError:
    failure = SegmenterError(f"{what}: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
