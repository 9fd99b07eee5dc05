"""The job `hlmat serve-segmenter`: load a segmenter and answer clients until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from hlmat.pipelines.serving.host import SegmenterHost
from hlmat.pipelines.settings.serving_options import ServingOptions, serving_options
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.core.watchdog import Watchdog
from hlmat.transforms.rollout.segmenter_batching import takes_boxes
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter, segmenter_identity
from hlmat.transforms.segmenters.remote.wire import (
    PROTOCOL,
    TOKEN_VARIABLE,
    ServedSegmenter,
    plain_identity,
)

if TYPE_CHECKING:
    import uvicorn

_STALL_ADVICE = "repair the segmenter, or give --segmenter-timeout more seconds if it is only slow"
_SHORTEST_TOKEN = 16


def serve_segmenter(
    arguments: argparse.Namespace, *, tell: Callable[[str, str | None], None]
) -> None:
    """Serve a segmenter until Ctrl-C.

    Args:
        arguments: of the command.
        tell: receives the address once it answers, and the token if it was made here.

    Raises:
        ConfigError: with every problem of the command line, or a package is missing.
    """
    segmenter, served = serving_options(arguments)
    token, is_new = _token()
    with open_server(segmenter, served, token=token) as opened:
        tell(opened.address, token if is_new else None)
        try:
            opened.run()
        except KeyboardInterrupt:
            # Ctrl-C is the normal way to stop the server.
            return


@dataclass(frozen=True)
class OpenServer:
    """A server whose socket takes connections; `run` answers them.

    Attributes:
        address: what clients give as `--segmenter`.
        host: has the segmenter.
        listening: the socket.
    """

    address: str

    host: SegmenterHost
    server: uvicorn.Server
    listening: socket.socket

    def run(self) -> None:
        """Answer until Ctrl-C, or until `stop`."""
        self.server.run(sockets=[self.listening])

    def stop(self) -> None:
        """End `run`, from another thread."""
        self.server.should_exit = True


@contextmanager
def open_server(
    segmenter: SegmenterOptions, served: ServingOptions, *, token: str
) -> Iterator[OpenServer]:
    """Load a segmenter and prepare its server.

    Args:
        segmenter: the segmenter to serve.
        served: how it is served.
        token: that every request has to bring.

    Raises:
        ConfigError: the segmenter cannot be loaded, the port cannot be used, or a package is
            missing.
    """
    try:
        from hlmat.pipelines.serving.app import ServerLimits, build_app
        from hlmat.pipelines.serving.http_server import bound_socket, build_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11"):
            raise
        raise ConfigError(
            [f"hlmat serve-segmenter needs {error.name}: pip install 'hlmat[serve]'"]
        ) from error
    try:
        listening = bound_socket(served.host, served.port)
    except OSError as error:
        raise ConfigError(
            [
                f"--host {served.host} --port {served.port} cannot be used ({error.strerror}); "
                "give a free port, or 0, and an address of this machine"
            ]
        ) from error
    with listening:
        tool = load_segmenter(segmenter, threads=Threads(available_cores()))
        host = SegmenterHost(
            tool,
            max_bytes=served.cache_bytes,
            joins_callers=served.join_clients,
            watchdog=Watchdog(segmenter.timeout_s, _STALL_ADVICE),
        )
        identity = plain_identity(segmenter_identity(tool, segmenter))
        if served.join_clients and host.encodes_images:
            # Which requests are joined depends on when they come, and rounding on that.
            identity["joined_clients"] = True
        hosted = ServedSegmenter(
            protocol=PROTOCOL,
            version=version("hlmat"),
            identity=identity,
            device=segmenter.device,
            encodes_images=host.encodes_images,
            takes_masks=host.takes_masks,
            takes_boxes=takes_boxes(tool),
        )
        limits = ServerLimits(served.receive_timeout_s, served.cache_bytes)
        app = build_app(host, hosted, token=token, limits=limits)
        try:
            server = build_server(app, max_connections=served.max_clients)
            yield OpenServer(_address(listening), host, server, listening)
        finally:
            host.close()


def _token() -> tuple[str, bool]:
    """Return the token of the environment, or a new one; and whether it is new.

    Raises:
        ConfigError: the one of the environment is too easy to guess, or no single word.
    """
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not given:
        return secrets.token_urlsafe(24), True
    if len(given) < _SHORTEST_TOKEN or not given.isascii() or not given.isprintable():
        raise ConfigError(
            [
                f"{TOKEN_VARIABLE}: a token is one word of at least {_SHORTEST_TOKEN} ASCII "
                "characters; unset it to have one made"
            ]
        )
    return given, False


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
