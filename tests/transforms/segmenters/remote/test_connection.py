"""A client that meets no server, another program, or one that answers wrongly."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter
from hlmat.transforms.segmenters.remote.wire import TOKEN_VARIABLE

SERVED = {
    "protocol": 2,
    "version": "1",
    "identity": {"name": "x"},
    "device": "auto",
    "encodes_images": False,
    "takes_masks": False,
    "takes_boxes": True,
}


@contextmanager
def answering(served: Any, *answers: tuple[int, Any], status: int = 200) -> Iterator[str]:
    """A server that says it is one, and then gives these answers, the last one again and again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(status, served)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(*(left.pop(0) if len(left) > 1 else left[0]))

        do_PUT = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

        def _send(self, status: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hlmat.transforms.segmenters.remote.connection._WAITS_S", (0.0, 0.0))
    monkeypatch.setenv(TOKEN_VARIABLE, "the-token-of-the-server")


def refused(address: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_segmenter(SegmenterOptions(address))
    (problem,) = caught.value.problems
    return problem


def test_no_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    problem = refused(address + "/")
    assert problem.startswith(f"--segmenter {address}: no server answers there (ConnectError: ")
    assert problem.endswith("; start one with hlmat serve-segmenter, or fix the address")


@pytest.mark.parametrize(("status", "content"), [(404, b"no"), (200, b"<html>"), (200, [1])])
def test_another_program(status: int, content: Any) -> None:
    with answering(content, (200, b""), status=status) as address:
        problem = refused(address)
    assert problem.startswith(
        f"--segmenter {address}: what answers there is no hlmat serve-segmenter (status {status}: "
    )


def test_another_version_of_the_protocol() -> None:
    with answering({"protocol": 3, "else": "unknown"}, (200, b"")) as address:
        assert refused(address) == (
            f"--segmenter {address}: the server speaks version 3 of the segmenters' protocol, this "
            "hlmat version 2; install the same hlmat on both sides"
        )


def test_a_server_that_says_wrongly_what_it_serves() -> None:
    with answering({**SERVED, "identity": [1]}, (200, b"")) as address:
        assert "the server describes its segmenter wrongly (identity: " in refused(address)


def test_a_token_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "two words")
    assert refused("http://127.0.0.1:9").startswith(f"{TOKEN_VARIABLE}: its value cannot be")


def failing(*answers: tuple[int, Any]) -> str:
    """Ask a server about one target; return the error, which a second question repeats."""
    with answering(SERVED, *answers) as address:
        client = load_segmenter(SegmenterOptions(address))
        client.set_image(np.zeros((4, 5, 3), np.uint8))
        with pytest.raises(AnswerError) as caught:
            client.predict(clicks=[Click(1, 1, True)])
        return str(caught.value).replace(address, "ADDRESS")


AGAIN = "start it again with the same segmenter and run the same command again"
MEND = "install the same hlmat on both sides"
THRICE = "no answer in 3 tries; last error: status 500"
NO_MASK = f"its answer holds no mask of the image's size; {MEND}"
FORGETS = "it keeps too little to answer 1 requests at once; start it with a larger --cache-gb"


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (500, b"went\nwrong", f"{THRICE}: went wrong; {AGAIN}"),
        (500, "the-token-of-the-server", f'{THRICE}: "***"; {AGAIN}'),
        (400, b"the request: x", f"status 400: the request: x; {AGAIN}"),
        (401, b"?", f"status 401: ?; {AGAIN}"),
        (200, b"{}", f"its answer cannot be read (answers: Field required); {MEND}"),
        (200, {"answers": []}, "it gave 0 answers to 1 requests"),
        (200, {"answers": [{}]}, NO_MASK),
        (200, {"answers": [{"counts": "0d1"}]}, NO_MASK),
        (409, {"images": [], "feedback": []}, FORGETS),
    ],
)
def test_a_server_that_answers_wrongly(status: int, content: Any, message: str) -> None:
    assert failing((status, content)) == f"segmenter server ADDRESS: {message}"


def test_a_short_trouble_is_got_over() -> None:
    answers = [(503, b"busy"), (502, b"?"), (200, {"answers": [{"counts": "d0", "score": 0.5}]})]
    with answering(SERVED, *answers) as address:
        client = load_segmenter(SegmenterOptions(address))
        client.set_image(np.zeros((4, 5, 3), np.uint8))
        found = client.predict(clicks=[Click(1, 1, True)])
    assert (found.mask.shape, found.mask.any(), found.score) == ((4, 5), False, 0.5)


def test_after_a_failure_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(SERVED, (500, b"gone")) as address:
        client = load_segmenter(SegmenterOptions(address))
    client.set_image(np.zeros((4, 5, 3), np.uint8))
    for _ in range(2):
        with pytest.raises(AnswerError, match="no answer in 3 tries"):
            client.predict(clicks=[Click(1, 1, True)])
        # Only the first of them asks.
        monkeypatch.setattr("hlmat.transforms.core.bounded_http.HttpClient.send", None)
