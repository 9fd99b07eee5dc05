"""The server of a page: who gets an answer, and what it says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hlmat.export.view.page_files import PageFiles
from hlmat.export.view.page_flags import PageFlags
from hlmat.pipelines.viewing.server import PageServer
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import LocalStorage
from viewed_runs import DrawnImages, clicked, damage, page_of, viewed, write_run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    run = write_run(tmp_path / "run", [clicked(0, 10), clicked(1, 15)])
    with PageServer(page_of(run, images=DrawnImages("1.png"))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(
    server: PageServer,
    path: str,
    *,
    method: str = "GET",
    host: str | None = None,
    body: bytes | None = None,
    **more: str,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Return status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if host is not None:
            headers["Host"] = host
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_the_page_is_below_its_token(server: PageServer) -> None:
    status, body, headers = ask(server, f"/{server.token}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"


@pytest.mark.parametrize("path", ["/", "/index.html", "//", "/wrong/", "/wrong/data/page.js"])
def test_nothing_is_answered_without_the_token(server: PageServer, path: str) -> None:
    status, body, _ = ask(server, path)
    assert (status, body) == (403, b"open the whole address that hlmat view printed\n")


def test_two_servers_have_different_tokens(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, [clicked(0, 10)]))
    with PageServer(page) as first, PageServer(page) as second:
        assert first.token != second.token
        assert min(len(first.token), len(second.token)) >= 32


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1", ""])
def test_names_that_lead_here_are_refused(server: PageServer, host: str) -> None:
    status, body, _ = ask(server, f"/{server.token}/", host=host)
    assert (status, body) == (403, b"unknown host\n")


def test_localhost_is_a_name_of_this_machine(server: PageServer) -> None:
    assert ask(server, f"/{server.token}/", host=f"localhost:{server.server_port}")[0] == 200


def test_headers_forbid_what_the_page_does_not_need(server: PageServer) -> None:
    headers = ask(server, f"/{server.token}/data/page.js")[2]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_images_come_with_their_type_or_the_reason(server: PageServer) -> None:
    status, body, headers = ask(server, f"/{server.token}/thumbs/0.jpg")
    assert (status, headers["Content-Type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    status, body, _ = ask(server, f"/{server.token}/thumbs/1.jpg")
    assert (status, body) == (404, b"1.png does not exist\n")


@pytest.mark.parametrize("name", ["../run/manifest.json", "%2e%2e/manifest.json", "page/%00", "x"])
def test_there_are_no_other_files(server: PageServer, name: str) -> None:
    assert ask(server, f"/{server.token}/{name}")[:2] == (404, b"no such file\n")


def test_any_failure_is_an_answer_of_one_line(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: PageFiles, name: str) -> bytes:
        raise RuntimeError(f"{name}\nwent wrong")

    monkeypatch.setattr(PageFiles, "read", fail)
    status, body, _ = ask(server, f"/{server.token}/data/page.js")
    assert (status, body) == (500, b"RuntimeError: data/page.js went wrong\n")
    assert capfd.readouterr() == ("", "")


def test_a_damaged_run_is_an_answer(server: PageServer) -> None:
    assert isinstance(server.page, PageFiles)
    damage(Path(server.page.run.out), truth_rle="zz!!")
    status, body, _ = ask(server, f"/{server.token}/data/targets-0.js")
    assert (status, body.count(b"\n")) == (500, 1)
    assert b"a file of the run was changed or damaged" in body


def test_an_address_that_is_none_is_refused(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        host = f"127.0.0.1:{server.server_port}"
        connection.sendall(f"GET http://[ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_browsers_leave_out_the_port_of_http(server: PageServer) -> None:
    assert "localhost" not in server.hosts
    server.server_port = 80
    assert server.hosts == {"127.0.0.1", "localhost", "127.0.0.1:80", "localhost:80"}


def test_head_has_no_body_and_no_file_can_be_put(server: PageServer) -> None:
    status, body, headers = ask(server, f"/{server.token}/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000
    assert ask(server, f"/{server.token}/", method="PUT")[0] == 501


def test_a_taken_port_is_named(server: PageServer) -> None:
    with pytest.raises(ConfigError, match=rf"--port {server.server_port} cannot be used"):
        PageServer(server.page, port=server.server_port)


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[PageServer]:
    """A server whose page stores flags."""
    run = write_run(tmp_path / "run", [clicked(0, 10), clicked(1, 15)])
    flags = PageFlags(LocalStorage(), str(tmp_path / "f.csv"), viewed(run).targets)
    with PageServer(page_of(run, flags=flags, can_save=True)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


FLAGS = json.dumps({"n": 1, "drop": True, "note": "bad", "fixes": {}}).encode()


def send(
    server: PageServer, path: str = "", *, body: bytes = FLAGS, **more: Any
) -> tuple[int, bytes]:
    """Send flags as the page does; return status and body."""
    headers = {"Content_Type": "application/json", **more}
    path = path or f"/{server.token}/flags"
    return ask(server, path, method="POST", body=body, **headers)[:2]


def test_flags_are_stored_and_shown(editor: PageServer) -> None:
    assert send(editor, Origin=editor.address.rsplit("/", 2)[0]) == (200, b"stored\n")
    body = ask(editor, f"/{editor.token}/data/flags.js")[1]
    assert body == b'hlmat.receive("flags",{"1":{"drop":true,"note":"bad","fixes":{}}});\n'


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/flags", {}, 403),
        ("/wrong/flags", {}, 403),
        ("", {"Origin": "http://evil.example"}, 403),
        ("", {"Origin": "null"}, 403),
        ("", {"Host": "evil.example"}, 403),
        ("", {"Content_Type": "text/plain"}, 415),
        ("", {"Content_Length": "-1"}, 411),
        ("", {"Content_Length": str(1 << 30)}, 413),
        ("/TOKEN/data/page.js", {}, 404),
    ],
)
def test_only_the_page_may_store_flags(
    editor: PageServer, path: str, more: dict[str, Any], status: int
) -> None:
    assert send(editor, path.replace("TOKEN", editor.token), **more)[0] == status
    assert isinstance(editor.page, PageFiles)
    assert editor.page.flags is not None
    assert not Path(editor.page.flags.path).exists()


def test_wrong_flags_and_pages_that_store_none_say_so(
    editor: PageServer, server: PageServer
) -> None:
    assert send(editor, body=b"{}") == (400, b"not stored: expected n, drop, note and fixes\n")
    status, body = send(server)
    assert (status, body) == (
        400,
        b"not stored: the flags of this page cannot be changed; start hlmat edit\n",
    )


def test_a_file_of_flags_that_is_damaged_is_an_answer(editor: PageServer) -> None:
    assert isinstance(editor.page, PageFiles)
    assert editor.page.flags is not None
    Path(editor.page.flags.path).write_text("x")
    status, body = send(editor)
    assert status == 500
    assert b"missing in the first line" in body
