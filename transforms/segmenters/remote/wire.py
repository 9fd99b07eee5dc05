"""What a segmenter's server and its clients send each other.

Bodies are JSON, except an image's: its pixels in row-major order, compressed by zlib. Masks travel
as COCO run lengths, images once under the sha256 of their content, and feedback not at all: it
stays on the server, under a name.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hlmat.transforms.core.protocols import Image, Request
from hlmat.transforms.core.records import Box, Click

PROTOCOL = 2
"""Version of this format; server and client must have the same."""
TOKEN_VARIABLE = "HLMAT_SEGMENTER_TOKEN"
"""Environment variable with the token, for the server and its clients."""
IDENTITY_HEADER = "Hlmat-Segmenter"
"""Request header with the digest of the segmenter that the client began with."""
SEGMENTER_PATH = "/v1/segmenter"
IMAGES_PATH = "/v1/images"
ENCODE_PATH = "/v1/encode"
PREDICT_PATH = "/v1/predict"
FEEDBACK_PATH = "/v1/feedback"
MAX_REQUESTS = 4096
"""Of images or targets, in one HTTP request."""

_MAX_CLICKS = 10_000
_COMPRESSION = 1

Identity = dict[str, str | int | float | bool | None]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
_Pixel = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Count = Annotated[int, Field(ge=1, lt=2**31)]
_Known = TypeVar("_Known", bound="Message")


class Message(BaseModel):
    """The content of a body: unknown names and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        """Return the JSON of a body."""
        return self.model_dump_json().encode()

    @classmethod
    def parse(cls: type[_Known], body: bytes) -> _Known:
        """Read a body.

        Raises:
            ValueError: it is not of this form; the message is one line.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place or 'the body'}: {first['msg']}"[:300]) from None


class ServedSegmenter(Message):
    """What a server says of itself.

    Attributes:
        protocol: `PROTOCOL` of the server.
        version: of hlmat there.
        identity: of the segmenter, as a run in one process records it.
        device: the server's `--device`.
        encodes_images: whether the segmenter takes many images at once.
        takes_masks: whether it can start from a mask.
        takes_boxes: whether it can be given a box.
    """

    protocol: int
    version: str
    identity: Identity
    device: str
    encodes_images: bool
    takes_masks: bool
    takes_boxes: bool

    def digest(self) -> str:
        """Return the sha256 of everything that determines answers, in hex."""
        content = self.model_dump(exclude={"version"})
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class ProtocolOnly(BaseModel):
    """The part of `ServedSegmenter` that every version of the format has."""

    protocol: int


class ImageKeys(Message):
    """Images to encode."""

    images: Annotated[list[Key], Field(min_length=1, max_length=MAX_REQUESTS)]


class AskedTarget(Message):
    """One target's request: `Request` with names in place of image and feedback."""

    image: Key
    clicks: Annotated[list[tuple[_Pixel, _Pixel, bool]], Field(max_length=_MAX_CLICKS)]
    box: tuple[_Pixel, _Pixel, _Pixel, _Pixel] | None = None
    feedback: Name | None = None

    @classmethod
    def of(cls, image: str, request: Request, feedback: str | None) -> AskedTarget:
        """Write a request."""
        box = request.box
        return cls(
            image=image,
            clicks=[(click.x, click.y, click.is_positive) for click in request.clicks],
            box=None if box is None else (box.x0, box.y0, box.x1, box.y1),
            feedback=feedback,
        )

    def request(self, feedback: object) -> Request:
        """Return the request.

        Raises:
            ValueError: the box is empty.
        """
        return Request(
            clicks=tuple(Click(x, y, is_positive) for x, y, is_positive in self.clicks),
            box=None if self.box is None else Box(*self.box),
            feedback=feedback,
        )


class AskedTargets(Message):
    """Requests to answer in one call of the segmenter."""

    requests: Annotated[list[AskedTarget], Field(min_length=1, max_length=MAX_REQUESTS)]


class GivenMask(Message):
    """A mask to start from, as run lengths."""

    counts: str
    height: _Count
    width: _Count


class StatedAnswer(Message):
    """The answer about one image or target: a failure, or what was asked for.

    Attributes:
        counts: the mask's run lengths.
        score: the estimate of its IoU.
        feedback: the name under which the server keeps the feedback; None for none.
        error: what failed, worded as in a process of its own.
        is_out_of_memory: whether memory ran out.
    """

    counts: str | None = None
    score: float | None = None
    feedback: Name | None = None
    error: str | None = None
    is_out_of_memory: bool = False


class StatedAnswers(Message):
    """One answer per request, in order."""

    answers: list[StatedAnswer]


class Missing(Message):
    """What the server does not keep, or no longer: it is sent again."""

    images: list[Key]
    feedback: list[Name]


def image_key(image: Image) -> str:
    """Return the sha256 of an image's size and pixels, in hex."""
    digest = hashlib.sha256(f"{image.shape[0]} {image.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def pack_image(image: Image) -> bytes:
    """Return the body that carries an image: uint8 RGB, Shape: (H, W, 3)."""
    return zlib.compress(np.ascontiguousarray(image).data, _COMPRESSION)


def unpack_image(body: bytes, *, key: str, size_hw: tuple[int, int]) -> Image:
    """Read the body of an image, with no more memory than its size calls for.

    Args:
        body: from `pack_image`.
        key: from `image_key`.
        size_hw: (height, width) of the image.

    Raises:
        ValueError: the body is damaged, or of another size or content.
    """
    expected = size_hw[0] * size_hw[1] * 3
    unpack = zlib.decompressobj()
    try:
        pixels = unpack.decompress(body, expected + 1)
    except zlib.error as error:
        raise ValueError(f"the image's body is damaged: {error}") from None
    if len(pixels) != expected or not unpack.eof or unpack.unused_data:
        raise ValueError(
            f"the image's body does not hold the {expected} bytes of an image of "
            f"{size_hw[0]} x {size_hw[1]} (height x width)"
        )
    image = np.frombuffer(pixels, np.uint8).reshape(*size_hw, 3)
    if image_key(image) != key:
        raise ValueError("the image's body is another image than its key says")
    return image


def image_url(base: str, key: str, size_hw: tuple[int, int]) -> str:
    """Return the address to which an image is sent."""
    return f"{base}{IMAGES_PATH}/{key}?height={size_hw[0]}&width={size_hw[1]}"


def plain_identity(identity: Mapping[str, str | int | float | bool | None]) -> Identity:
    """Return an identity as JSON carries it."""
    return json.loads(json.dumps(dict(identity)))
