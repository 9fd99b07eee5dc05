"""A segmenter behind a server, used as one in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hlmat.transforms.core.errors import AnswerError, ConfigError, ServedSegmenterError
from hlmat.transforms.core.protocols import Image, Mask, Prediction, Request
from hlmat.transforms.core.records import Box, Click, Rle
from hlmat.transforms.masks.rle import decode_rle, encode_mask, rle_problem
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.remote.connection import Connection, connect
from hlmat.transforms.segmenters.remote.wire import (
    ENCODE_PATH,
    FEEDBACK_PATH,
    MAX_REQUESTS,
    PREDICT_PATH,
    AskedTarget,
    AskedTargets,
    GivenMask,
    ImageKeys,
    Message,
    Missing,
    StatedAnswer,
    StatedAnswers,
    image_key,
    image_url,
    pack_image,
)

_ROUNDS = 6

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class RemoteImage:
    """An image and its key on the server; kept in case the server has to ask for it again."""

    key: str
    pixels: Image


@dataclass(eq=False)
class RemoteFeedback:
    """Feedback that the server keeps, and how it came about, in case it is lost there.

    Attributes:
        name: on the server.
        made_from: image and request whose answer it belongs to, or the mask that was given.
    """

    name: str
    made_from: tuple[RemoteImage, Request] | Rle


class RemoteSegmenter:
    """The client of `hlmat serve-segmenter`, for a segmenter that works on one image at a time.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._image: RemoteImage | None = None

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the identity that the segmenter has in the server's process."""
        return dict(self._connection.served.identity)

    @property
    def device(self) -> str:
        """The server's `--device`."""
        return self._connection.served.device

    @property
    def takes_boxes(self) -> bool:
        """Whether the served segmenter can be given a box."""
        return self._connection.served.takes_boxes

    @property
    def digest(self) -> str:
        """The sha256 of what the server serves, in hex."""
        return self._connection.served.digest()

    def set_image(self, image: Image) -> None:
        """Set the image of the next predictions; it is sent with the first of them."""
        self._image = _remote_image(image)

    def predict(
        self,
        *,
        clicks: Sequence[Click],
        box: Box | None = None,
        feedback: RemoteFeedback | None = None,
    ) -> Prediction:
        """Ask about one target of the image.

        Raises:
            ServedSegmenterError: the segmenter failed.
            AnswerError: the server cannot answer.
        """
        return self.predict_batch([Request(tuple(clicks), box, feedback)])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        """Ask about several targets of the image, as `predict` does."""
        if self._image is None:
            raise ValueError("no image is set: call set_image before predict")
        return self._predict([(self._image, request) for request in requests])

    def _predict(self, pairs: Sequence[tuple[RemoteImage, Request]]) -> list[Prediction]:
        found: list[Prediction] = []
        for part in _parts(pairs):
            found += self._predict_part(part)
        return found

    def _predict_part(self, pairs: Sequence[tuple[RemoteImage, Request]]) -> list[Prediction]:
        def message() -> AskedTargets:
            return AskedTargets(
                requests=[
                    AskedTarget.of(image.key, request, request.feedback and request.feedback.name)
                    for image, request in pairs
                ]
            )

        images = [image for image, _ in pairs]
        kept = [request.feedback for _, request in pairs if request.feedback is not None]
        answers = self._asked(PREDICT_PATH, message, len(pairs), images=images, feedback=kept)
        return [self._prediction(a, *pair) for a, pair in zip(answers, pairs, strict=True)]

    def _prediction(self, answer: StatedAnswer, image: RemoteImage, asked: Request) -> Prediction:
        height, width = image.pixels.shape[:2]
        if answer.counts is None or rle_problem(answer.counts, (height, width)) is not None:
            raise self._connection.failed(
                "its answer holds no mask of the image's size; install the same hlmat on both sides"
            )
        return Prediction(
            mask=decode_rle(Rle(answer.counts, (height, width))),
            score=answer.score,
            feedback=None
            if answer.feedback is None
            else RemoteFeedback(answer.feedback, (image, asked)),
        )

    def _asked(
        self,
        path: str,
        message: Callable[[], Message],
        count: int,
        *,
        images: Sequence[RemoteImage] = (),
        feedback: Sequence[RemoteFeedback] = (),
    ) -> list[StatedAnswer]:
        """Send a message until the server has what it needs; return its answers.

        Raises:
            ServedSegmenterError: the segmenter failed on the first of them.
            AnswerError: the server cannot answer, or forgets what it was just sent.
        """
        for _ in range(_ROUNDS):
            response = self._connection.post(path, message(), items=count)
            try:
                if response.status == 200:
                    answers = StatedAnswers.parse(response.body).answers
                    break
                missing = Missing.parse(response.body)
            except ValueError as error:
                raise self._connection.failed(
                    f"its answer cannot be read ({error}); install the same hlmat on both sides"
                ) from None
            self._send_again(missing, images=images, feedback=feedback)
        else:
            raise AnswerError(
                f"segmenter server {self._connection.base}: it keeps too little to answer "
                f"{count} requests at once; start it with a larger --cache-gb"
            )
        if len(answers) != count:
            raise self._connection.failed(f"it gave {len(answers)} answers to {count} requests")
        for answer in answers:
            if answer.error is not None:
                raise ServedSegmenterError(answer.error) from (
                    MemoryError() if answer.is_out_of_memory else None
                )
        return answers

    def _send_again(
        self,
        missing: Missing,
        *,
        images: Sequence[RemoteImage],
        feedback: Sequence[RemoteFeedback],
    ) -> None:
        """Send images that the server lacks, and have lost feedback recomputed."""
        lacking = set(missing.images)
        for image in {image.key: image for image in images if image.key in lacking}.values():
            height, width = image.pixels.shape[:2]
            url = image_url(self._connection.base, image.key, (height, width))
            self._connection.put(url, pack_image(image.pixels))
        lost = set(missing.feedback)
        for each in feedback:
            if each.name in lost:
                self._compute_again(each)

    def _compute_again(self, feedback: RemoteFeedback) -> None:
        if isinstance(feedback.made_from, Rle):
            feedback.name = self._name_of(feedback.made_from)
            return
        image, request = feedback.made_from
        again = self._predict([(image, request)])[0].feedback
        if again is None:
            raise self._connection.failed("it gave no feedback where it gave some before")
        feedback.name = again.name

    def _name_of(self, mask: Rle) -> str:
        given = GivenMask(counts=mask.counts, height=mask.size_hw[0], width=mask.size_hw[1])
        (answer,) = self._asked(FEEDBACK_PATH, lambda: given, 1)
        if answer.feedback is None:
            raise self._connection.failed("it gave no feedback for a mask")
        return answer.feedback


class RemoteManySegmenter(RemoteSegmenter):
    """The client for a segmenter that takes many images at once."""

    @property
    def leaves_cpu_free(self) -> bool:
        """True: the server encodes."""
        return True

    def encode_images(self, images: Sequence[Image]) -> list[RemoteImage]:
        """Have the server encode images; each is sent unless it is there.

        Raises:
            ServedSegmenterError: the segmenter failed.
            AnswerError: the server cannot answer.
        """
        encoded = [_remote_image(image) for image in images]
        for part in _parts(encoded):
            keys: Message = ImageKeys(images=[image.key for image in part])
            self._asked(ENCODE_PATH, lambda keys=keys: keys, len(part), images=part)
        return encoded

    def predict_many(self, pairs: Sequence[tuple[RemoteImage, Request]]) -> list[Prediction]:
        """Ask about targets of many images, as `predict` does."""
        return self._predict(pairs)


class _TakesMasks(RemoteSegmenter):
    def feedback_of(self, mask: Mask) -> RemoteFeedback:
        """Have the server turn a mask into feedback."""
        given = encode_mask(np.ascontiguousarray(mask))
        return RemoteFeedback(self._name_of(given), given)


class RemoteMaskSegmenter(_TakesMasks):
    """A `RemoteSegmenter` that can start from a mask."""


class RemoteManyMaskSegmenter(_TakesMasks, RemoteManySegmenter):
    """A `RemoteManySegmenter` that can start from a mask."""


def connect_segmenter(options: SegmenterOptions) -> RemoteSegmenter:
    """Build the client of the server at `options.name`.

    Raises:
        ConfigError: settings that belong to the server, or no such server.
        AnswerError: the server serves another segmenter than `options.served`.
    """
    problems = [
        f"--segmenter-arg {name}: belongs to the server at {options.name}; give it to hlmat "
        "serve-segmenter"
        for name in options.arguments
    ]
    if options.device != "auto":
        problems.append(
            f"--device {options.device}: belongs to the server at {options.name}; give it to hlmat "
            "serve-segmenter"
        )
    if options.checkpoint:
        problems.append(
            f"--checkpoint {options.checkpoint}: belongs to the server at {options.name}; give it "
            "to hlmat serve-segmenter, and --checkpoint '' where a recipe names one"
        )
    if problems:
        raise ConfigError(problems)
    connection = connect(options.name, timeout_s=options.timeout_s, served=options.served)
    kinds = {
        (False, False): RemoteSegmenter,
        (False, True): RemoteMaskSegmenter,
        (True, False): RemoteManySegmenter,
        (True, True): RemoteManyMaskSegmenter,
    }
    served = connection.served
    return kinds[served.encodes_images, served.takes_masks](connection)


def _remote_image(image: Image) -> RemoteImage:
    return RemoteImage(image_key(image), image)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), MAX_REQUESTS):
        yield items[start : start + MAX_REQUESTS]
