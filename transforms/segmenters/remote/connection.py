"""Requests of a client to a segmenter's server, repeated while it restarts."""

from __future__ import annotations

import os
import threading
import time
import weakref

from hlmat.transforms.core.bounded_http import HttpClient, HttpError, Response
from hlmat.transforms.core.errors import AnswerError, ConfigError, SegmenterError
from hlmat.transforms.segmenters.remote.wire import (
    IDENTITY_HEADER,
    PROTOCOL,
    SEGMENTER_PATH,
    TOKEN_VARIABLE,
    Message,
    ProtocolOnly,
    ServedSegmenter,
)

_MAX_RESPONSE_BYTES = 1 << 30
_CONNECT_S = 10.0
_WAITS_S = (0.5, 1.0, 2.0, 4.0)
_WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})
_CONNECTIONS = 4
_SHOWN_CHARACTERS = 300
_ADVICE = "start it again with the same segmenter and run the same command again"


def connect(address: str, *, timeout_s: float, served: str | None = None) -> Connection:
    """Connect to a server and ask what it serves.

    Args:
        address: of the server.
        timeout_s: of a request, for each image or target in it.
        served: the digest that the server's segmenter must have; None for any.

    Raises:
        ConfigError: no server, another one, another version or token.
        AnswerError: the server serves another segmenter than `served`.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            [
                f"{TOKEN_VARIABLE}: its value cannot be a token, which is one word; export the "
                "one that hlmat serve-segmenter prints"
            ]
        )
    base = address.rstrip("/")
    answered = _ask_what_is_served(base, token)
    if served is not None and answered.digest() != served:
        raise AnswerError(
            f"{base} serves another segmenter than the run began with; start that one there and "
            "run the same command again"
        )
    return Connection(base, token, answered, timeout_s=timeout_s)


class Connection:
    """Sends requests to one server; once it is gone, every later request fails at once.

    Thread-safe.

    Args:
        base: the server's address without a final slash.
        token: of the server; "" for none.
        served: what the server said of itself.
        timeout_s: of a request, for each image or target in it.
    """

    def __init__(self, base: str, token: str, served: ServedSegmenter, *, timeout_s: float) -> None:
        self.base = base
        self.served = served
        self._token = token
        self._timeout_s = timeout_s
        self._given_up: str | None = None
        self._lock = threading.Lock()
        self._client = _client(token, timeout_s, {IDENTITY_HEADER: served.digest()})
        weakref.finalize(self, self._client.close)

    def post(self, path: str, message: Message, *, items: int) -> Response:
        """Send a message; return the response, of status 200 or 409.

        Args:
            path: below the address.
            message: the body.
            items: images or targets in it; each adds the time limit.

        Raises:
            AnswerError: no such response.
        """
        return self._send("POST", f"{self.base}{path}", message.to_bytes(), items=items)

    def put(self, url: str, body: bytes) -> None:
        """Send an image.

        Raises:
            SegmenterError: the server does not take this image.
            AnswerError: no response.
        """
        response = self._send("PUT", url, body, items=1, content_type="application/octet-stream")
        if response.status == 413:
            raise SegmenterError(self._shown(response.body))

    def failed(self, problem: str) -> AnswerError:
        """Note that the server is of no more use; return the error to raise."""
        with self._lock:
            self._given_up = self._given_up or f"segmenter server {self.base}: {problem}"
            return AnswerError(self._given_up)

    def _send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        items: int,
        content_type: str = "application/json",
    ) -> Response:
        problem = ""
        for wait_s in (*_WAITS_S, None):
            if self._given_up is not None:
                raise AnswerError(self._given_up)
            try:
                response = self._client.send(
                    method,
                    url,
                    body=body,
                    content_type=content_type,
                    timeout_s=self._timeout_s * max(items, 1),
                )
            except HttpError as error:
                problem = self._shown(str(error).encode())
            else:
                if response.status in (200, 409) or (response.status == 413 and method == "PUT"):
                    return response
                problem = f"status {response.status}: {self._shown(response.body)}"
                if response.status == 412:
                    raise self.failed(
                        "it serves another segmenter than the run began with; start that one "
                        "there and run the same command again"
                    )
                if response.status not in _WORTH_RETRYING:
                    raise self.failed(f"{problem}; {_ADVICE}")
            if wait_s is not None:
                time.sleep(wait_s)
        raise self.failed(
            f"no answer in {len(_WAITS_S) + 1} tries; last error: {problem}; {_ADVICE}"
        )

    def _shown(self, text: bytes) -> str:
        return _shown(text, self._token)


def _client(token: str, timeout_s: float, headers: dict[str, str] | None = None) -> HttpClient:
    return HttpClient(
        timeout_s=timeout_s,
        max_bytes=_MAX_RESPONSE_BYTES,
        connections=_CONNECTIONS,
        headers={**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})},
    )


def _ask_what_is_served(base: str, token: str) -> ServedSegmenter:
    client = _client(token, _CONNECT_S)
    try:
        response = client.send("GET", f"{base}{SEGMENTER_PATH}")
    except HttpError as error:
        raise ConfigError(
            [
                f"--segmenter {base}: no server answers there ({_shown(str(error).encode(), token)}"
                "); start one with hlmat serve-segmenter, or fix the address"
            ]
        ) from error
    finally:
        client.close()
    if response.status in (401, 403):
        cure = f"export {TOKEN_VARIABLE} with the one that hlmat serve-segmenter printed"
        what = "holds another token than the server's" if token else "is not set"
        raise ConfigError([f"--segmenter {base}: {TOKEN_VARIABLE} {what}; {cure}"])
    try:
        protocol = ProtocolOnly.model_validate_json(response.body).protocol
    except ValueError:
        protocol = None
    if response.status != 200 or protocol is None:
        raise ConfigError(
            [
                f"--segmenter {base}: what answers there is no hlmat serve-segmenter (status "
                f"{response.status}: {_shown(response.body, token)}); fix the address"
            ]
        )
    if protocol != PROTOCOL:
        raise ConfigError(
            [
                f"--segmenter {base}: the server speaks version {protocol} of the segmenters' "
                f"protocol, this hlmat version {PROTOCOL}; install the same hlmat on both sides"
            ]
        )
    try:
        return ServedSegmenter.parse(response.body)
    except ValueError as error:
        raise ConfigError(
            [
                f"--segmenter {base}: the server describes its segmenter wrongly ({error}); "
                "install the same hlmat on both sides"
            ]
        ) from None


def _shown(text: bytes, token: str) -> str:
    """Return a text from a server as one short line without the token."""
    line = " ".join(text.decode("utf-8", "replace").split())
    line = line.replace(token, "***") if token else line
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
