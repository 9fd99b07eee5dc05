"""What a server refuses, and what it does not wait for."""

from __future__ import annotations

import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hlmat.pipelines.serving import http_server
from hlmat.pipelines.serving.serve import OpenServer
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter
from hlmat.transforms.segmenters.remote.wire import (
    IDENTITY_HEADER,
    image_key,
    image_url,
    pack_image,
)
from served_segmenters import DISC, TOKEN, serving

IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
KEY = image_key(IMAGE)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenServer]:
    with serving(SegmenterOptions(DISC), monkeypatch, receive_timeout_s=0.3) as opened:
        yield opened


def ask(
    server: OpenServer,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.listening.getsockname()[:2], timeout=30)
    try:
        connection.request(method, path, body=body, headers={**BEARER, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def put(server: OpenServer, body: bytes, *, key: str = KEY, size: Any = (4, 5)) -> tuple[int, str]:
    return ask(server, "PUT", image_url("", key, size), body)


def predict(server: OpenServer, **changes: Any) -> tuple[int, str]:
    request = {"image": KEY, "clicks": [[1, 2, True]], **changes}
    return ask(server, "POST", "/v1/predict", json.dumps({"requests": [request]}).encode())


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
@pytest.mark.parametrize("path", ["/v1/segmenter", "/v1/predict", f"/v1/images/{KEY}"])
def test_nothing_is_answered_without_the_token(server: OpenServer, path: str, given: str) -> None:
    method = {"/v1/segmenter": "GET", "/v1/predict": "POST"}.get(path, "PUT")
    status, text = ask(server, method, path, b"{}" * 100_000, {"Authorization": given})
    assert (status, text) == (401, "this server asks for its token\n")


def test_it_says_what_it_serves_and_nothing_of_this_machine(server: OpenServer) -> None:
    status, text = ask(server, "GET", "/v1/segmenter")
    answer = json.loads(text)
    assert (status, answer["protocol"], answer["device"]) == (200, 2, "auto")
    assert answer["identity"]["name"] == DISC
    assert set(answer) == {
        "protocol", "version", "identity", "device", "encodes_images", "takes_masks", "takes_boxes"
    }  # fmt: skip


def test_an_image_is_taken_and_then_asked_about(server: OpenServer) -> None:
    assert predict(server) == (409, f'{{"images":["{KEY}"],"feedback":[]}}')
    assert put(server, pack_image(IMAGE)) == (200, "{}")
    status, text = predict(server)
    assert status == 200
    (answer,) = json.loads(text)["answers"]
    assert answer["error"] is None
    # One click's feedback has a name; the discs' own, the number of clicks, stays on the server.
    assert predict(server, feedback=answer["feedback"])[0] == 200
    assert predict(server, feedback="x-1") == (409, '{"images":[],"feedback":["x-1"]}')


@pytest.mark.parametrize(
    ("body", "size", "status", "reason"),
    [
        (b"not zlib", (4, 5), 400, "the image: the image's body is damaged"),
        (b"", (4, 5), 400, "does not hold the 60 bytes of an image of 4 x 5"),
        (pack_image(IMAGE[:3]), (4, 5), 400, "does not hold the 60 bytes"),
        (pack_image(IMAGE) + b"more", (4, 5), 400, "does not hold the 60 bytes"),
        (zlib.compress(bytes(10**7)), (4, 5), 413, "at most 1084 are taken"),
        (zlib.compress(bytes(10**5)), (4, 5), 400, "does not hold the 60 bytes"),
        (pack_image(IMAGE + 1), (4, 5), 400, "another image than its key says"),
        (pack_image(IMAGE), (5, 4), 400, "another image than its key says"),
        (b"", (0, 5), 400, "height='0': expected a number of pixels"),
        (b"", (-4, 5), 400, "height='-4': expected a number of pixels"),
        (b"", (10**6, 10**6), 413, "at most 120000000 are taken"),
    ],
)
def test_images_that_are_none_are_refused(
    server: OpenServer, body: bytes, size: tuple[int, int], status: int, reason: str
) -> None:
    found, text = put(server, body, size=size)
    assert (found, reason in text) == (status, True), text
    assert text.count("\n") == 1


def test_an_image_too_large_for_the_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    with serving(SegmenterOptions(DISC), monkeypatch, cache_gb=5e-6) as server:
        client: Any = load_segmenter(SegmenterOptions(server.address))
        client.set_image(image)
        with pytest.raises(Exception, match="7500 bytes is more than the server keeps") as caught:
            client.predict(clicks=[Click(1, 1, True)])
    assert type(caught.value).__name__ == "SegmenterError"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clicks": [[1, 2]]}, "requests.0.clicks.0.2: Field required"),
        ({"clicks": [[1.5, 2, True]]}, "requests.0.clicks.0.0"),
        ({"clicks": [[10**12, 2, True]]}, "requests.0.clicks.0.0"),
        ({"image": "../../etc"}, "requests.0.image"),
        ({"box": [5, 5, 5, 9]}, "a box needs x0 < x1"),
        ({"feedback": ""}, "requests.0.feedback"),
        ({"more": 1}, "requests.0.more"),
    ],
)
def test_requests_that_are_none_are_refused(
    server: OpenServer, changes: dict[str, Any], reason: str
) -> None:
    put(server, pack_image(IMAGE))
    status, text = predict(server, **changes)
    assert (status, reason in text) == (400, True), text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"requests": []}', b"\xff", b"[" * 10_000])
def test_bodies_that_are_none_are_refused(server: OpenServer, body: bytes) -> None:
    assert ask(server, "POST", "/v1/predict", body)[0] == 400
    assert ask(server, "POST", "/v1/encode", body)[0] == 400


def test_what_is_not_offered_is_refused(server: OpenServer) -> None:
    assert ask(server, "POST", "/v1/segmenter", b"{}")[0] == 405
    assert ask(server, "GET", "/")[0] == 404
    assert ask(server, "POST", "/v1/feedback", b'{"counts": "0", "height": 2, "width": 2}') == (
        400,
        "this segmenter takes no masks\n",
    )


def test_a_client_of_another_segmenter_is_refused(server: OpenServer) -> None:
    status, text = ask(server, "GET", "/v1/segmenter", headers={IDENTITY_HEADER: "0" * 64})
    assert (status, text) == (412, "this server serves another segmenter\n")


def raw(server: OpenServer, data: bytes) -> bytes:
    """Send bytes and nothing more; return what comes back until the server closes."""
    with socket.create_connection(server.listening.getsockname()[:2], timeout=60) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(1 << 16):
            found += part
        return found


HEAD = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


def test_half_a_body_is_not_waited_for(server: OpenServer) -> None:
    found = raw(server, HEAD + b"Content-Length: 100\r\n\r\nhalf")
    assert found.startswith(b"HTTP/1.1 408")
    assert b"the body did not arrive within 0.3 s" in found


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked", b"X: y"])
def test_a_body_needs_its_length(server: OpenServer, length: bytes) -> None:
    found = raw(server, HEAD + length + b"\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 411")


def test_a_huge_body_is_refused_before_it_arrives(server: OpenServer) -> None:
    found = raw(server, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("begun", [b"", b"GET /v1/seg", HEAD])
def test_half_a_header_is_not_waited_for(
    server: OpenServer, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_S", 0.2)
    assert raw(server, begun) == b""


def test_a_second_header_is_not_waited_for_either(
    server: OpenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_S", 0.2)
    whole = HEAD.replace(b"POST /v1/predict", b"GET /v1/segmenter") + b"\r\n"
    found = raw(server, whole + b"GET /v1/seg")
    assert found.count(b"HTTP/1.1 200 OK") == 1
    assert raw(server, whole + whole + b"GET").count(b"HTTP/1.1 200 OK") == 2


def test_a_huge_header_is_refused(server: OpenServer) -> None:
    found = raw(server, HEAD + b"X: " + b"x" * 100_000)
    assert found.startswith(b"HTTP/1.1 400")


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(SegmenterOptions(DISC), monkeypatch, max_clients=3) as server:
        place = server.listening.getsockname()[:2]
        waiting = [socket.create_connection(place, timeout=30) for _ in range(3)]
        try:
            statuses = set()
            for _ in range(20):
                statuses.add(ask(server, "GET", "/v1/segmenter")[0])
            assert 503 in statuses
        finally:
            for connection in waiting:
                connection.close()
