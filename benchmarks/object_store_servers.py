"""Servers of object stores on this machine, and a proxy that counts, delays and breaks requests."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec

USER, PASSWORD = "annotator", "annotator-password"
_START_S = 30.0


def find_server(name: str) -> str | None:
    """Return the program of a server; None where it is not installed."""
    beside_python = os.path.dirname(sys.executable)
    go_bin = Path(os.environ.get("GOPATH", Path.home() / "go")) / "bin"
    places = [beside_python, os.environ.get("PATH", ""), str(go_bin)]
    return shutil.which(name, path=os.pathsep.join(places))


@contextmanager
def running(command: list[str], *, port: int, env: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Run a server until the block ends; enter the block when it accepts connections."""
    with subprocess.Popen(
        command,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for(port, process)
            yield process
        finally:
            process.kill()


def s3_environment(url: str) -> dict[str, str]:
    """Return the environment variables with which `s3://` reaches a MinIO server."""
    return {
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def s3_files(url: str) -> fsspec.AbstractFileSystem:
    """Return the files of a MinIO server."""
    return fsspec.filesystem(
        "s3",
        key=USER,
        secret=PASSWORD,
        endpoint_url=url,
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends:
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args} accepts no connection")


@dataclass
class Minio:
    """A MinIO server with its data below a folder.

    Attributes:
        folder: of its data.
        port: that it listens at; the same after a restart.
    """

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen]:
        """Run the server until the block ends."""
        program = find_server("minio")
        assert program is not None, "MinIO is not installed: make object-store-servers"
        command = [program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}"]
        env = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
        with running([*command, str(self.folder)], port=self.port, env=env) as process:
            ends = time.monotonic() + _START_S
            while time.monotonic() < ends:
                with suppress(OSError):
                    urllib.request.urlopen(f"{self.url}/minio/health/cluster", timeout=1).close()
                    break
                time.sleep(0.05)
            yield process


@dataclass
class FakeGcs:
    """A server of Google Cloud Storage's interface with its buckets as folders of one folder.

    Attributes:
        folder: of the buckets.
        port: that it listens at; the same after a restart.
    """

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen]:
        """Run the server until the block ends."""
        program = find_server("fake-gcs-server")
        assert program is not None, "fake-gcs-server is not installed: make object-store-servers"
        command = [
            *(program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)),
            *("-public-host", f"127.0.0.1:{self.port}", "-external-url", self.url),
            *("-filesystem-root", str(self.folder)),
        ]
        with running(command, port=self.port, env={}) as process:
            yield process


def gcs_environment(url: str) -> dict[str, str]:
    """Return the environment variables with which `gs://` reaches a server without keys."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        "FSSPEC_GS_TOKEN": "anon",
        "FSSPEC_GCS_TOKEN": "anon",
    }


def gcs_files(url: str) -> fsspec.AbstractFileSystem:
    """Return the files of a server without keys."""
    return fsspec.filesystem(
        "gcs",
        token="anon",
        endpoint_url=url,
        use_listings_cache=False,
        skip_instance_cache=True,
    )


class Proxy:
    """Passes HTTP requests on to a server, and counts them by method.

    Attributes:
        counts: requests by method, a listing as "LIST".
        delay_s: before each answer.
        refuse: given method and path, returns a status to answer with instead, or None.
    """

    def __init__(self, *, port: int) -> None:
        self.counts: Counter[str] = Counter()
        self.delay_s = 0.0
        self.refuse: Callable[[str, str], int | None] = lambda method, path: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, port))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy, port: int) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_listing = self.command == "GET" and "list-type=" in self.path
            with lock:
                proxy.counts["LIST" if is_listing else self.command] += 1
            time.sleep(proxy.delay_s)
            if (status := proxy.refuse(self.command, self.path)) is not None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                # The host is part of what the client signed, so it is passed on as it is.
                upstream.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                data = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                upstream.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    return Handler
