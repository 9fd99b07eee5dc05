"""Serve a run's page to browsers on this machine."""

from __future__ import annotations

import hmac
import secrets
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from hlmat.export.view.static_files import CONTENT_SECURITY_POLICY, TYPES, ViewedPage
from hlmat.transforms.core.errors import ConfigError, HlmatError, TargetError
from hlmat.transforms.core.visible_text import visible

ADDRESS = "127.0.0.1"
_MOST_AT_ONCE = 16
_IDLE_S = 30
_HTTP_PORT = 80
_FLAGS = "flags"
_LONGEST_BODY = 1 << 20
_HEADERS = {
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class PageServer(ThreadingHTTPServer):
    """Serves the files of a page under an unguessable path, to this machine only.

    A request needs the path's token and a Host header that names this server: a page from another
    site has neither, even if its own name resolves to this machine.

    Args:
        page: the page to serve.
        port: port on 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigError: the port is taken.
    """

    daemon_threads = True
    # Another program on the port would otherwise get the page's requests.
    allow_reuse_port = False

    def __init__(self, page: ViewedPage, *, port: int = 0) -> None:
        self.page = page
        self.token = secrets.token_urlsafe(24)
        self.slots = threading.BoundedSemaphore(_MOST_AT_ONCE)
        try:
            super().__init__((ADDRESS, port), _Request)
        except OSError as error:
            raise ConfigError(
                [f"--port {port} cannot be used ({error.strerror}); leave it out for a free one"]
            ) from error

    @property
    def address(self) -> str:
        """The address of the page, with its token."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers that this server answers."""
        names = (ADDRESS, "localhost")
        # Browsers leave out the port of http.
        bare = names if self.server_port == _HTTP_PORT else ()
        return frozenset((*(f"{name}:{self.server_port}" for name in names), *bare))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that closed their connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files of the page, and POST for the flags of its targets."""

    server: PageServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    server_version = "hlmat"
    sys_version = ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Send a file of the page."""
        self._send(*self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        """Send only the headers that `do_GET` sends."""
        self._send(*self._answer(), with_body=False)

    def do_POST(self) -> None:
        """Store the flags of a target."""
        status, data, suffix = self._stored()
        if status is not HTTPStatus.OK:
            # What is left of the request would be taken for the next one.
            self.close_connection = True
        self._send(status, data, suffix, with_body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal belongs to the command."""

    def _name(self) -> str | tuple[HTTPStatus, bytes, str]:
        """Return the name below the token, or the answer to a request that may not ask."""
        if self.headers.get("Host", "") not in self.server.hosts:
            return HTTPStatus.FORBIDDEN, b"unknown host\n", "txt"
        try:
            path = urlsplit(self.path).path
        except ValueError:
            return HTTPStatus.BAD_REQUEST, b"no address\n", "txt"
        _, token, *rest = [*path.split("/", 2), ""][:3]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return HTTPStatus.FORBIDDEN, b"open the whole address that hlmat view printed\n", "txt"
        return unquote(rest[0]) or "index.html"

    def _stored(self) -> tuple[HTTPStatus, bytes, str]:
        """Store the flags that a page sent; return the answer."""
        name = self._name()
        if not isinstance(name, str):
            return name
        # Browsers name the page that sends; another site's has neither token nor this origin.
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            return HTTPStatus.FORBIDDEN, b"another site's page\n", "txt"
        if name != _FLAGS:
            return HTTPStatus.NOT_FOUND, b"nothing is stored there\n", "txt"
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, b"expected application/json\n", "txt"
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            return HTTPStatus.LENGTH_REQUIRED, b"Content-Length is missing\n", "txt"
        if int(length) > _LONGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too long\n", "txt"
        data = self.rfile.read(int(length))
        try:
            with self.server.slots:
                self.server.page.save_flags(data)
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, _line(f"not stored: {error}"), "txt"
        except HlmatError as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, _line(f"not stored: {error}"), "txt"
        except Exception as error:
            # The browser gets an answer whatever happens.
            problem = f"not stored: {type(error).__name__}: {error}"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _line(problem), "txt"
        return HTTPStatus.OK, b"stored\n", "txt"

    def _answer(self) -> tuple[HTTPStatus, bytes, str]:
        """Return the status, the content and the extension of the file's name."""
        name = self._name()
        if not isinstance(name, str):
            return name
        try:
            with self.server.slots:
                data = self.server.page.read(name)
        except TargetError as error:
            return HTTPStatus.NOT_FOUND, _line(error.message), "txt"
        except HlmatError as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, _line(str(error)), "txt"
        except Exception as error:
            # The browser gets an answer whatever happens.
            problem = f"{type(error).__name__}: {error}"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _line(problem), "txt"
        if data is None:
            return HTTPStatus.NOT_FOUND, b"no such file\n", "txt"
        return HTTPStatus.OK, data, name.rpartition(".")[2]

    def _send(self, status: HTTPStatus, data: bytes, suffix: str, *, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(data)))
        is_image = suffix in ("jpg", "png", "svg")
        self.send_header("Cache-Control", "private, max-age=3600" if is_image else "no-store")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def _line(text: str) -> bytes:
    line = " ".join(visible(text).split())
    return f"{line}\n".encode("utf-8", "backslashreplace")
