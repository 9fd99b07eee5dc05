"""The server of a page: who gets an answer, and what it says."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hlmat.export.view.page_files import PageFiles
from hlmat.pipelines.viewing.server import PageServer
from hlmat.transforms.core.errors import ConfigError
from viewed_runs import DrawnImages, clicked, damage, page_of, write_run


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
    server: PageServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Return status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        headers = {} if host is None else {"Host": host}
        connection.request(method, path, headers=headers)
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


def test_head_has_no_body_and_nothing_can_be_sent(server: PageServer) -> None:
    status, body, headers = ask(server, f"/{server.token}/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000
    assert ask(server, f"/{server.token}/", method="POST")[0] == 501


def test_a_taken_port_is_named(server: PageServer) -> None:
    with pytest.raises(ConfigError, match=rf"--port {server.server_port} cannot be used"):
        PageServer(server.page, port=server.server_port)
