"""The web server: connections that do not get on are closed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_S = 10.0
_IDLE_S = 60
_END_S = 5
_MAX_HEADER_BYTES = 16 << 10


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose request header does not arrive in time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first header."""
        super().connection_made(transport)
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_longer()
        elif self._timer is None:
            self._wait_for_header()

    def on_response_complete(self) -> None:
        """Go on to the next request, part of which may be here already."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._wait_for_header()

    def _wait_for_header(self) -> None:
        self._wait_no_longer()
        self._timer = self.loop.call_later(HEADER_S, self._end)

    def _wait_no_longer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self.transport.close()


def build_server(app: Any, *, max_connections: int) -> uvicorn.Server:
    """Return a server for an application, to be run with a bound socket.

    Args:
        app: an ASGI application.
        max_connections: open at once; further ones get status 503.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=max_connections,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_END_S,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        )
    )


def bound_socket(address: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        address: name or number of an interface of this machine.
        port: 0 takes a free one.

    Raises:
        OSError: it is taken, or not of this machine.
    """
    family, kind, number, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, number)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound
