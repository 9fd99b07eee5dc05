"""The HTTP interface of a served segmenter: who may ask, how much, and for how long."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hlmat.pipelines.serving.host import NotKeptError, SegmenterHost
from hlmat.transforms.core.records import Rle
from hlmat.transforms.core.visible_text import visible
from hlmat.transforms.masks.rle import MAX_PIXELS, decode_rle, rle_problem
from hlmat.transforms.segmenters.remote.wire import (
    ENCODE_PATH,
    FEEDBACK_PATH,
    IDENTITY_HEADER,
    IMAGES_PATH,
    PREDICT_PATH,
    SEGMENTER_PATH,
    AskedTargets,
    GivenMask,
    ImageKeys,
    Missing,
    ServedSegmenter,
    StatedAnswer,
    StatedAnswers,
    unpack_image,
)

MAX_JSON_BYTES = 64 << 20
_UPLOADS_AT_ONCE = 4
# zlib stores what it cannot compress in blocks with a few bytes each.
_ZLIB_SLACK = 1.01

Value = TypeVar("Value")
_Handler = Callable[[HttpRequest], Awaitable[Response]]


@dataclass(frozen=True)
class ServerLimits:
    """What a request may take.

    Attributes:
        receive_s: time for a body to arrive, in seconds.
        max_bytes: of an image in memory.
    """

    receive_s: float
    max_bytes: int


class _Refused(Exception):  # noqa: N818
    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


def build_app(
    host: SegmenterHost, served: ServedSegmenter, *, token: str, limits: ServerLimits
) -> Starlette:
    """Return the application that answers clients.

    Args:
        host: answers.
        served: what the server says of itself.
        token: that every request has to bring.
        limits: of a request.
    """
    interface = _Interface(host, served, token, limits)
    return Starlette(
        routes=[
            Route(SEGMENTER_PATH, interface.guarded(interface.segmenter), methods=["GET"]),
            Route(f"{IMAGES_PATH}/{{key}}", interface.guarded(interface.image), methods=["PUT"]),
            Route(ENCODE_PATH, interface.guarded(interface.encode), methods=["POST"]),
            Route(PREDICT_PATH, interface.guarded(interface.predict), methods=["POST"]),
            Route(FEEDBACK_PATH, interface.guarded(interface.feedback), methods=["POST"]),
        ]
    )


class _Interface:
    def __init__(
        self, host: SegmenterHost, served: ServedSegmenter, token: str, limits: ServerLimits
    ) -> None:
        self._host = host
        self._served = served
        self._digest = served.digest()
        self._token = token.encode()
        self._limits = limits
        self._uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    def guarded(self, handler: _Handler) -> _Handler:
        """Ask for the token before anything else, and answer every failure with one line."""

        async def answer(request: HttpRequest) -> Response:
            try:
                self._check(request)
                return await handler(request)
            except _Refused as refused:
                return _line(refused.status, str(refused))
            except NotKeptError as lacking:
                missing = Missing(images=lacking.images, feedback=lacking.feedback)
                return _json(missing.to_bytes(), status=409)
            except Exception as error:
                # A caller gets an answer whatever happens.
                return _line(500, f"{type(error).__name__}: {error}")

        return answer

    async def segmenter(self, request: HttpRequest) -> Response:
        """Say what is served."""
        return _json(self._served.to_bytes())

    async def image(self, request: HttpRequest) -> Response:
        """Take an image."""
        key = request.path_params["key"]
        height, width = (_whole(request, name) for name in ("height", "width"))
        pixels = height * width
        if pixels > MAX_PIXELS:
            raise _Refused(413, f"an image of {pixels} pixels: at most {MAX_PIXELS} are taken")
        if pixels * 3 > self._limits.max_bytes:
            raise _Refused(
                413,
                f"an image of {pixels * 3} bytes is more than the server keeps "
                f"({self._limits.max_bytes}); start it with a larger --cache-gb",
            )
        async with self._uploads:
            body = await self._body(request, int(pixels * 3 * _ZLIB_SLACK) + 1024)
            image = await _checked(
                lambda: unpack_image(body, key=key, size_hw=(height, width)), "image"
            )
        self._host.keep_image(image, key=key)
        return _json(b"{}")

    async def encode(self, request: HttpRequest) -> Response:
        """Encode images."""
        body = await self._body(request, MAX_JSON_BYTES)
        asked = await _checked(lambda: ImageKeys.parse(body), "request")
        return await self._answered(self._host.encode(asked.images))

    async def predict(self, request: HttpRequest) -> Response:
        """Answer requests about targets."""
        body = await self._body(request, MAX_JSON_BYTES)
        asked = await _checked(lambda: AskedTargets.parse(body), "request")
        try:
            return await self._answered(self._host.predict(asked.requests))
        except ValueError as error:
            raise _Refused(400, str(error)) from None

    async def feedback(self, request: HttpRequest) -> Response:
        """Turn a mask into feedback."""
        if not self._host.takes_masks:
            raise _Refused(400, "this segmenter takes no masks")
        body = await self._body(request, MAX_JSON_BYTES)
        given = await _checked(lambda: GivenMask.parse(body), "mask")
        size_hw = (given.height, given.width)
        if size_hw[0] * size_hw[1] > MAX_PIXELS:
            raise _Refused(413, f"a mask of more than {MAX_PIXELS} pixels")
        if (problem := rle_problem(given.counts, size_hw)) is not None:
            raise _Refused(400, f"the mask: {problem}")
        mask = await asyncio.to_thread(decode_rle, Rle(given.counts, size_hw))
        return await self._answered(self._host.feedback_of(mask))

    def _check(self, request: HttpRequest) -> None:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            raise _Refused(401, "this server asks for its token")
        expected = request.headers.get(IDENTITY_HEADER)
        if expected is not None and expected != self._digest:
            raise _Refused(412, "this server serves another segmenter")

    async def _body(self, request: HttpRequest, max_bytes: int) -> bytes:
        length = request.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(411, "a body needs its length")
        if int(length) > max_bytes:
            raise _Refused(413, f"a body of {length} bytes: at most {max_bytes} are taken")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.receive_s):
                async for chunk in request.stream():
                    body += chunk
        except TimeoutError:
            raise _Refused(
                408, f"the body did not arrive within {self._limits.receive_s:g} s"
            ) from None
        return bytes(body)

    async def _answered(self, future: Future[list[StatedAnswer]]) -> Response:
        answers = await asyncio.wrap_future(future)
        data = await asyncio.to_thread(StatedAnswers(answers=answers).to_bytes)
        return _json(data)


async def _checked(read: Callable[[], Value], what: str) -> Value:
    try:
        return await asyncio.to_thread(read)
    except ValueError as error:
        raise _Refused(400, f"the {what}: {error}") from None


def _whole(request: HttpRequest, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise _Refused(400, f"{name}={text[:20]!r}: expected a number of pixels")
    return int(text)


def _json(data: bytes, *, status: int = 200) -> Response:
    return Response(data, status_code=status, media_type="application/json")


def _line(status: int, text: str) -> Response:
    line = " ".join(visible(text).split())[:1000]
    # The rest of a refused body is not read.
    return PlainTextResponse(f"{line}\n", status_code=status, headers={"Connection": "close"})
