"""One segmenter for many callers: their requests wait in line for the thread that owns it."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hlmat.pipelines.serving.caches import BoundedCache, bytes_of
from hlmat.transforms.core.errors import SegmenterError, is_out_of_memory
from hlmat.transforms.core.protocols import (
    Image,
    ManyImagesSegmenter,
    Mask,
    MaskPromptSegmenter,
    Prediction,
    Request,
    Segmenter,
)
from hlmat.transforms.core.watchdog import Watchdog
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.rollout.segmenter_batching import SegmenterSession, encode_all
from hlmat.transforms.segmenters.remote.wire import AskedTarget, StatedAnswer, image_key

_Work = Callable[[], object]


@dataclass(eq=False)
class KeptImage:
    """An image, and what the segmenter made of it.

    Attributes:
        pixels: uint8 RGB. Shape: (H, W, 3).
        encoded: from a `ManyImagesSegmenter`, or its failure; None before that.
    """

    key: str
    pixels: Image
    encoded: Any | SegmenterError | None = None


@dataclass(frozen=True)
class KeptFeedback:
    """A segmenter's feedback, whatever it is."""

    value: Any


@dataclass(eq=False)
class _Predicting:
    """A caller's requests: for one call of the segmenter, unless calls are joined."""

    pairs: list[tuple[KeptImage, Request]]
    done: Future[list[StatedAnswer]] = field(default_factory=Future)


class NotKeptError(Exception):
    """Images or feedback are not here, or no longer."""

    def __init__(self, images: Sequence[str], feedback: Sequence[str]) -> None:
        self.images = list(dict.fromkeys(images))
        self.feedback = list(dict.fromkeys(feedback))
        super().__init__(f"{len(self.images)} images and {len(self.feedback)} feedbacks")


class SegmenterHost:
    """Answers several callers with one segmenter, on one thread.

    Each caller's requests are one call of the segmenter, as in a process of the caller's own, so
    its answers are the same bytes. With `joins_callers`, the requests that wait are one call
    together.

    Args:
        segmenter: the tool.
        max_bytes: of kept images and their encodings, and as many again of feedback.
        joins_callers: one call for all that wait.
        watchdog: watches the segmenter's calls.

    Attributes:
        segmenter: the tool.
        calls: for predictions, so far.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        max_bytes: int,
        joins_callers: bool = False,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.segmenter = segmenter
        self._many = segmenter if isinstance(segmenter, ManyImagesSegmenter) else None
        self._joins = joins_callers
        self._watchdog = watchdog
        self._images: BoundedCache[KeptImage] = BoundedCache(max_bytes)
        self._feedback: BoundedCache[KeptFeedback] = BoundedCache(max_bytes)
        self._names = (f"{secrets.token_hex(8)}-{number}" for number in count())
        self._line: queue.SimpleQueue[_Predicting | _Work | None] = queue.SimpleQueue()
        self._session: tuple[str, SegmenterSession] | None = None
        self.calls = 0
        self._thread = threading.Thread(target=self._work, name="segmenter", daemon=True)
        self._thread.start()

    @property
    def encodes_images(self) -> bool:
        """Whether the segmenter takes many images at once."""
        return self._many is not None

    @property
    def takes_masks(self) -> bool:
        """Whether it can start from a mask."""
        return isinstance(self.segmenter, MaskPromptSegmenter)

    def close(self) -> None:
        """End the thread after what is in line."""
        self._line.put(None)
        self._thread.join()

    def keep_image(self, image: Image, *, key: str | None = None) -> str:
        """Keep an image for later requests; return its key."""
        key = key or image_key(image)
        if self._images.get(key) is None:
            self._images.put(key, KeptImage(key, image), bytes_of(image))
        return key

    def encode(self, keys: Sequence[str]) -> Future[list[StatedAnswer]]:
        """Encode kept images, those that are not yet.

        Raises:
            NotKeptError: some are not here.
        """
        images = self._kept_images(keys)
        done: Future[list[StatedAnswer]] = Future()

        def work() -> None:
            self._encode(images)
            done.set_result([_stated_encoding(image) for image in images])

        self._line.put(_guarded(work, done))
        return done

    def predict(self, asked: Sequence[AskedTarget]) -> Future[list[StatedAnswer]]:
        """Answer requests.

        Raises:
            NotKeptError: some of their images or feedbacks are not here.
            ValueError: a box is empty.
        """
        # What is found here stays until the answer, whatever the caches drop meanwhile.
        found = [self._images.get(each.image) for each in asked]
        feedback = [each.feedback and self._feedback.get(each.feedback) for each in asked]
        lost = [
            each.feedback
            for each, kept in zip(asked, feedback, strict=True)
            if each.feedback is not None and kept is None
        ]
        missing = [e.image for e, kept in zip(asked, found, strict=True) if kept is None]
        if missing or lost:
            raise NotKeptError(missing, lost)
        pairs = [
            (image, each.request(kept.value if isinstance(kept, KeptFeedback) else None))
            for each, image, kept in zip(asked, found, feedback, strict=True)
            if image is not None
        ]
        job = _Predicting(pairs)
        self._line.put(job)
        return job.done

    def feedback_of(self, mask: Mask) -> Future[list[StatedAnswer]]:
        """Return the feedback that a mask stands for; only where `takes_masks`."""
        done: Future[list[StatedAnswer]] = Future()

        def work() -> None:
            session = SegmenterSession(self.segmenter, [], watchdog=self._watchdog)
            start = session.start_from(mask)
            done.set_result(
                [
                    _stated_failure(start)
                    if isinstance(start, SegmenterError)
                    else StatedAnswer(feedback=self._keep_feedback(start.feedback))
                ]
            )

        self._line.put(_guarded(work, done))
        return done

    def _kept_images(self, keys: Sequence[str]) -> list[KeptImage]:
        found = {key: self._images.get(key) for key in keys}
        missing = [key for key, image in found.items() if image is None]
        if missing:
            raise NotKeptError(missing, [])
        return [image for key in keys if (image := found[key]) is not None]

    def _work(self) -> None:
        while (job := self._line.get()) is not None:
            if not isinstance(job, _Predicting):
                job()
                continue
            jobs, others, is_last = [job], [], False
            while self._joins and not self._line.empty():
                waiting = self._line.get()
                if isinstance(waiting, _Predicting):
                    jobs.append(waiting)
                elif waiting is None:
                    is_last = True
                else:
                    others.append(waiting)
            self._answer(jobs)
            for other in others:
                other()
            if is_last:
                return

    def _answer(self, jobs: Sequence[_Predicting]) -> None:
        try:
            pairs = [pair for job in jobs for pair in job.pairs]
            answers = iter(self._ask(pairs))
            for job in jobs:
                job.done.set_result([self._stated(next(answers)) for _ in job.pairs])
        # Whatever happens, no caller waits forever, and the thread goes on.
        except BaseException as error:
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(error)

    def _ask(self, pairs: Sequence[tuple[KeptImage, Request]]) -> list[Prediction | SegmenterError]:
        self.calls += 1
        images = list({image.key: image for image, _ in pairs}.values())
        places = {image.key: index for index, image in enumerate(images)}
        if self._many is not None:
            self._encode(images)
        pixels = [image.pixels for image in images]
        encoded = None if self._many is None else [image.encoded for image in images]
        if len(images) == 1 and self._many is None:
            session = self._session_about(images[0])
        else:
            self._session = None
            session = SegmenterSession(
                self.segmenter, pixels, encoded=encoded, watchdog=self._watchdog
            )
        return session.ask([(places[image.key], request) for image, request in pairs])

    def _session_about(self, image: KeptImage) -> SegmenterSession:
        """Return the last session if it is about this image: setting an image takes time."""
        if self._session is None or self._session[0] != image.key:
            session = SegmenterSession(self.segmenter, [image.pixels], watchdog=self._watchdog)
            self._session = image.key, session
        return self._session[1]

    def _encode(self, images: Sequence[KeptImage]) -> None:
        if self._many is None:
            return
        new = list({image.key: image for image in images if image.encoded is None}.values())
        if not new:
            return
        pixels = [image.pixels for image in new]
        for image, encoded in zip(
            new, encode_all(self._many, pixels, watchdog=self._watchdog), strict=True
        ):
            image.encoded = encoded
            # Failures are not kept: memory may suffice the next time.
            if not isinstance(encoded, SegmenterError):
                self._images.put(image.key, image, bytes_of(image))
            elif self._images.get(image.key) is image:
                kept = KeptImage(image.key, image.pixels)
                self._images.put(image.key, kept, bytes_of(image.pixels))

    def _keep_feedback(self, value: Any) -> str | None:
        if value is None:
            return None
        name = next(self._names)
        self._feedback.put(name, KeptFeedback(value), bytes_of(value))
        return name

    def _stated(self, answer: Prediction | SegmenterError) -> StatedAnswer:
        if isinstance(answer, SegmenterError):
            return _stated_failure(answer)
        return StatedAnswer(
            counts=encode_mask(answer.mask).counts,
            score=answer.score,
            feedback=self._keep_feedback(answer.feedback),
        )


def _guarded(work: _Work, done: Future[list[StatedAnswer]]) -> _Work:
    def guarded() -> None:
        try:
            work()
        # Whatever happens, no caller waits forever, and the thread goes on.
        except BaseException as error:
            if not done.done():
                done.set_exception(error)

    return guarded


def _stated_encoding(image: KeptImage) -> StatedAnswer:
    if isinstance(image.encoded, SegmenterError):
        return _stated_failure(image.encoded)
    return StatedAnswer()


def _stated_failure(error: SegmenterError) -> StatedAnswer:
    cause = error.__cause__
    return StatedAnswer(
        error=str(error), is_out_of_memory=cause is not None and is_out_of_memory(cause)
    )
