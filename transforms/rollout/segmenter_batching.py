"""Ask a segmenter about several images in batches, and check its answers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hlmat.transforms.core.error_place import error_place
from hlmat.transforms.core.errors import (
    AnswerError,
    ConfigError,
    SegmenterError,
    ServedSegmenterError,
)
from hlmat.transforms.core.protocols import (
    BatchSegmenter,
    Image,
    ManyImagesSegmenter,
    Mask,
    MaskPromptSegmenter,
    Prediction,
    Request,
    Segmenter,
    TextSegmenter,
)
from hlmat.transforms.core.records import Box
from hlmat.transforms.core.watchdog import Watchdog
from hlmat.transforms.core.working_folder import same_working_folder
from hlmat.transforms.masks.rle import mask_box

_NAMED_TARGETS = 3
_SHOWN_CHARACTERS = 500

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

    A plain segmenter works on one image at a time, so images are set in turn.

    Args:
        segmenter: the tool.
        images: uint8 RGB. Shape of each: (H, W, 3).
        encoded: results of an earlier `ManyImagesSegmenter.encode_images`, an error in place of
            a failed one; None to encode on demand.
        watchdog: watches every call.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        images: Sequence[Image],
        *,
        encoded: Sequence[Any | SegmenterError] | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._segmenter = segmenter
        # Check once: this takes longer than a click of a fast tool.
        self._takes_batches = isinstance(segmenter, BatchSegmenter)
        self._watchdog = watchdog
        self._images = images
        self._encoded = encoded
        self._current: int | None = None

    def ask(
        self, questions: Sequence[tuple[int, Request]], *, targets: Sequence[str] | None = None
    ) -> list[Prediction | SegmenterError]:
        """Answer requests, each about the image at its index; return failures as values.

        A failing batch is halved until the failing request is alone.

        Args:
            questions: index of the image, and request.
            targets: the id of each question's target, for the watchdog.

        Raises:
            AnswerError: the segmenter's server cannot answer; all can be asked again.
        """
        names = [""] * len(questions) if targets is None else targets
        if isinstance(self._segmenter, ManyImagesSegmenter):
            return self._ask_about_many(self._segmenter, questions, names)
        batches: dict[tuple[int, int, bool], list[int]] = {}
        for position, (image, request) in enumerate(questions):
            kind = (image, len(request.clicks), request.box is None)
            batches.setdefault(kind, []).append(position)
        answers: dict[int, Prediction | SegmenterError] = {}
        for (image, _, _), positions in batches.items():
            asked = [(questions[position][1], names[position]) for position in positions]
            failure = self._set_image(image, names[positions[0]])
            found = [failure] * len(asked) if failure else self._ask_about_current(asked)
            answers.update(zip(positions, found, strict=True))
        return [answers[position] for position in range(len(questions))]

    def ask_by_text(
        self, questions: Sequence[tuple[int, str]], *, targets: Sequence[str]
    ) -> list[Prediction | SegmenterError]:
        """Have the segmenter, a `TextSegmenter`, find objects by text; return failures as values.

        The texts about an image are one call; a failing one is halved.

        Args:
            questions: index of the image, and text.
            targets: the id of each question's target, for the watchdog.

        Raises:
            AnswerError: the segmenter's server cannot answer; all can be asked again.
        """
        segmenter = self._segmenter
        assert isinstance(segmenter, TextSegmenter)
        by_image: dict[int, list[int]] = {}
        for position, (image, _) in enumerate(questions):
            by_image.setdefault(image, []).append(position)
        answers: dict[int, Prediction | SegmenterError] = {}
        for image, of_image in by_image.items():

            def ask(positions: Sequence[int], image: int = image) -> list[Prediction]:
                texts = [questions[p][1] for p in positions]
                with self._watched("predict_texts", [targets[p] for p in positions]):
                    answers = segmenter.predict_texts(self._images[image], texts)
                predictions = _unshared(_counted(answers, positions, "predict_texts"))
                return [self._checked(prediction, image=image) for prediction in predictions]

            found = _halving(
                ask, of_image, segmenter=segmenter, describe=lambda _: ".predict_texts"
            )
            answers.update(zip(of_image, found, strict=True))
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
            with self._watched("feedback_of", []):
                return StartingPoint(feedback=segmenter.feedback_of(mask))
        except AnswerError:
            raise
        # A segmenter is third-party code: an error must affect this target only.
        except Exception as error:
            return _failure(segmenter, "feedback_of", error)

    def _ask_about_many(
        self,
        segmenter: ManyImagesSegmenter,
        questions: Sequence[tuple[int, Request]],
        names: Sequence[str],
    ) -> list[Prediction | SegmenterError]:
        if self._encoded is None:
            self._encoded = encode_all(segmenter, self._images, watchdog=self._watchdog)
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
            with self._watched("predict_many", [names[p] for p in positions]):
                answers = segmenter.predict_many(pairs)
            predictions = _unshared(_counted(answers, positions, "predict_many"))
            return [
                self._checked(prediction, image=questions[p][0])
                for prediction, p in zip(predictions, positions, strict=True)
            ]

        found = _halving(
            ask,
            usable,
            segmenter=segmenter,
            describe=lambda p: self._at_click(questions[p][1]),
        )
        answers.update(zip(usable, found, strict=True))
        return [answers[position] for position in range(len(questions))]

    def _ask_about_current(
        self, asked: Sequence[tuple[Request, str]]
    ) -> list[Prediction | SegmenterError]:
        """Answer requests about the current image, each with the id of its target."""
        segmenter, image = self._segmenter, self._current
        assert image is not None

        def ask(batch: Sequence[tuple[Request, str]]) -> list[Prediction]:
            if self._takes_batches:
                requests = [request for request, _ in batch]
                with self._watched("predict_batch", [name for _, name in batch]):
                    answers = segmenter.predict_batch(requests)  # pyright: ignore
                predictions = _unshared(_counted(answers, batch, "predict_batch"))
                return [self._checked(prediction, image=image) for prediction in predictions]
            # Each answer is copied before the next call, which may overwrite its mask.
            return [self._checked(predict(request, name), image=image) for request, name in batch]

        def predict(request: Request, name: str) -> Prediction:
            with self._watched("predict", [name]):
                return segmenter.predict(
                    clicks=request.clicks, box=request.box, feedback=request.feedback
                )

        return _halving(
            ask, asked, segmenter=segmenter, describe=lambda item: self._at_click(item[0])
        )

    def _watched(
        self, method: str, targets: Sequence[str]
    ) -> contextlib.AbstractContextManager[None]:
        return _watched(self._watchdog, self._segmenter, method, targets)

    def _set_image(self, index: int, target: str) -> SegmenterError | None:
        """Set the segmenter's image unless it is set already; return the failure, if any."""
        if self._current == index:
            return None
        self._current = None
        try:
            with self._watched("set_image", [target]):
                self._segmenter.set_image(self._images[index])
        except AnswerError:
            raise
        # A segmenter is third-party code: an error must affect this image's targets only.
        except Exception as error:
            return _failure(self._segmenter, "set_image", error)
        self._current = index
        return None

    def _at_click(self, request: Request) -> str:
        return f" failed at click {len(request.clicks)}"

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
        if score is not None and not math.isfinite(score := float(score)):
            raise SegmenterError(
                f"{type(self._segmenter).__name__}.predict must return an object whose `score` is "
                f"finite or None, got {score}"
            )
        return Prediction(
            # A tool may return its own buffer and overwrite it in the next call.
            mask=mask.copy(),
            score=score,
            feedback=getattr(prediction, "feedback", None),
        )


def takes_boxes(segmenter: Segmenter) -> bool:
    """Return whether a segmenter can be given a box; it says so if it cannot."""
    return bool(getattr(segmenter, "takes_boxes", True))


def load_texts(segmenter: Segmenter, *, name: str) -> None:
    """Get a segmenter ready for `--initial-action text`.

    Args:
        segmenter: the tool.
        name: its `--segmenter` value.

    Raises:
        ConfigError: it takes no text.
    """
    if not isinstance(segmenter, TextSegmenter):
        raise ConfigError(
            [
                f"--initial-action text: the segmenter {name!r} takes no text; use --segmenter hf "
                "with a checkpoint of SAM 3, or a class of your own with the method predict_texts"
            ]
        )
    segmenter.load_texts()


def encode_all(
    segmenter: ManyImagesSegmenter, images: Sequence[Image], *, watchdog: Watchdog | None = None
) -> list[Any | SegmenterError]:
    """Encode images in one call; halve a failing batch to isolate the failing image.

    Returns:
        One result per image, in order; failures as values.

    Raises:
        AnswerError: the segmenter's server cannot answer; all can be asked again.
    """

    def encode(batch: Sequence[Image]) -> list[Any]:
        with _watched(watchdog, segmenter, "encode_images", [""] * len(batch)):
            return _counted(segmenter.encode_images(batch), batch, "encode_images")

    return _halving(encode, images, segmenter=segmenter, describe=lambda _: ".encode_images")


@contextlib.contextmanager
def _watched(
    watchdog: Watchdog | None, segmenter: Segmenter, method: str, targets: Sequence[str]
) -> Iterator[None]:
    """Watch a call of a segmenter, and restore the working folder after it."""

    def what() -> str:
        named = [repr(target) for target in targets if target]
        more = f" and {len(named) - _NAMED_TARGETS} more" if len(named) > _NAMED_TARGETS else ""
        about = f" about {', '.join(named[:_NAMED_TARGETS])}{more}" if named else ""
        return f"segmenter {type(segmenter).__name__}: {method}{about}"

    watched = (
        contextlib.nullcontext() if watchdog is None else watchdog.watch(what, items=len(targets))
    )
    with same_working_folder(), watched:
        yield


def _halving(
    work: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    segmenter: Segmenter,
    describe: Callable[[Item], str],
) -> list[Result | SegmenterError]:
    """Process all items in one call; on failure, each half separately."""
    if not items:
        return []
    try:
        return list(work(items))
    except AnswerError:
        raise
    # A segmenter is third-party code: an error must affect its own targets only.
    except Exception as error:
        if len(items) == 1:
            return [_failure(segmenter, describe(items[0]), error)]
    middle = len(items) // 2
    return [
        *_halving(work, items[:middle], segmenter=segmenter, describe=describe),
        *_halving(work, items[middle:], segmenter=segmenter, describe=describe),
    ]


def _unshared(predictions: list[Any]) -> list[Any]:
    """Refuse masks of one array: a tool that returns its buffer has overwritten all but the last.

    Requests sent one at a time get correct masks.
    """
    masks = [getattr(prediction, "mask", None) for prediction in predictions]
    places = [mask.__array_interface__["data"][0] for mask in masks if isinstance(mask, np.ndarray)]
    if len(set(places)) < len(places):
        raise SegmenterError("several answers share one mask array; each needs its own array")
    return predictions


def _counted(answers: Sequence[Result], items: Sequence[Any], method: str) -> list[Result]:
    if len(answers) != len(items):
        raise SegmenterError(f"{method} gave {len(answers)} answers to {len(items)} requests")
    return list(answers)


def _failure(segmenter: Segmenter, what: str, error: Exception) -> SegmenterError:
    """Return the failure of a method or, if `what` begins with a space, of a step."""
    if isinstance(error, ServedSegmenterError):
        return error
    name = f"{type(segmenter).__name__}{what if what.startswith((' ', '.')) else f'.{what}'}"
    text = " ".join(str(error).split())[:_SHOWN_CHARACTERS]
    place = "" if isinstance(error, SegmenterError) else error_place(error, owner=segmenter)
    failure = SegmenterError(f"{name}: {type(error).__name__}: {text}{place}")
    failure.__cause__ = error
    return failure
