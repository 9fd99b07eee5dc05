"""HTTP requests with one deadline and bounded responses, even from a slow or hostile server."""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

_WRITTEN_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Response:
    """A whole response.

    Attributes:
        headers: with lower-case names.
        body: decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests that end by a deadline: connecting, headers and body together.

    Proxies and passwords from the environment or a .netrc file are ignored; redirects are not
    followed. Thread-safe.

    Args:
        timeout_s: of a request, in seconds.
        max_bytes: largest body, both as sent and decompressed.
        connections: largest number at once.
        headers: sent with every request.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_bytes: int,
        connections: int,
        headers: Mapping[str, str],
    ) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._deadline = _Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            network_backend=_Network(httpcore.SyncBackend(), self._deadline),
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> Response:
        """Send a request and read the whole response.

        Args:
            method: of HTTP.
            url: whole address.
            body: of the request; None for none.
            content_type: of the body.
            timeout_s: of this request, in seconds; None for the client's.

        Raises:
            HttpError: no complete response within the bounds.
        """
        kind = {} if body is None else {"Content-Type": content_type}
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        self._deadline.begin(limit_s)
        try:
            with self._pool.stream(
                method,
                str(httpx.URL(url)),
                headers={**self._headers, **kind},
                content=body,
                # The wait for a free connection; everything else follows the deadline.
                extensions={"timeout": {"pool": limit_s}},
            ) as response:
                headers = {
                    name.decode("latin1").lower(): value.decode("latin1")
                    for name, value in response.headers
                }
                encoding = headers.get("content-encoding", "")
                data = self._read(response.iter_stream(), encoding, limit_s)
                return Response(response.status, headers, data)
        except HttpError:
            raise
        # Malformed data from a server can make the HTTP parser raise many kinds of errors.
        except Exception as error:
            details = str(error) or "no details"
            raise HttpError(f"{type(error).__name__}: {details}") from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _read(self, chunks: Iterable[bytes], encoding: str, limit_s: float) -> bytes:
        unpack = _unpacker(encoding)
        data = bytearray()
        received = 0
        for chunk in chunks:
            received += len(chunk)
            data += chunk if unpack is None else _unpacked(unpack, chunk, self._max_bytes + 1)
            if max(received, len(data)) > self._max_bytes:
                raise HttpError(f"more than {self._max_bytes} bytes")
            if self._deadline.left_s() <= 0:
                raise HttpError(f"ReadTimeout: incomplete after {limit_s} s")
        if unpack is not None and not unpack.eof:
            raise HttpError("a compressed body that is cut short")
        return bytes(data)


class HttpError(Exception):
    """No complete response was received."""


def _unpacker(encoding: str) -> Any:
    """Return a decompressor for a body; None if it is not compressed."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        # Adding 32 to the window size accepts both kinds of headers.
        return zlib.decompressobj(32 + zlib.MAX_WBITS)
    raise HttpError(f"a body in the encoding {encoding[:40]!r}, which was not asked for")


def _unpacked(unpack: Any, chunk: bytes, max_bytes: int) -> bytes:
    try:
        return unpack.decompress(chunk, max_bytes)
    except zlib.error as error:
        raise HttpError(f"a compressed body that is damaged: {error}") from error


class _Deadline(threading.local):
    """The deadline of the request that a thread is working on."""

    at_s = float("inf")

    def begin(self, timeout_s: float) -> None:
        self.at_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        return self.at_s - time.monotonic()

    def bounded(self, error: type[Exception]) -> float:
        """Return the time left in seconds; raise `error` if there is none."""
        left_s = self.left_s()
        if left_s <= 0:
            raise error("the time of the request is over")
        return left_s


class _Network(httpcore.NetworkBackend):
    """Connections that follow the deadline of the thread that uses them."""

    def __init__(self, inner: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.bounded(httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, left_s, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.bounded(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN_AT_ONCE):
            left_s = self._deadline.bounded(httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _WRITTEN_AT_ONCE], left_s)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.bounded(httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left_s), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
