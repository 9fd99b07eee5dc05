"""An HTTP server on localhost that gives scripted answers and records its requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer.

    Attributes:
        status: HTTP status; 0 closes the connection in the middle of the body.
        body: bytes, or what becomes JSON.
        wait_s: seconds before it is sent.
        drip_s: seconds before each byte of the body.
        head: the bytes of the head instead of those that a server makes, sent with `drip_s`, too.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip_s: float = 0.0
    head: bytes | None = None


def completion(text: Any, *, finish_reason: Any = None, **message: Any) -> Reply:
    """A chat completion with a text."""
    content = {"role": "assistant", "content": text, **message}
    return Reply({"choices": [{"message": content, "finish_reason": finish_reason}]})


@dataclass
class ScriptedServer:
    """What a server that is running was asked, and what it still has to say.

    Attributes:
        url: up to and including the version.
        replies: to chat completions, in order; the last one is repeated.
        models: the reply to a list of models.
        requests: the bodies of the chat completions asked for.
        keys: the authorization header of each.
    """

    url: str
    replies: list[Reply]
    models: Reply
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_reply(self, request: dict[str, Any], key: str | None) -> Reply:
        with self.lock:
            self.requests.append(request)
            self.keys.append(key)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def scripted_server(
    *replies: Reply, models: Sequence[str] | Reply = ("tiny",)
) -> Iterator[ScriptedServer]:
    """Run a server until the block ends."""
    listed = (
        models if isinstance(models, Reply) else Reply({"data": [{"id": name} for name in models]})
    )
    script = ScriptedServer("", list(replies) or [completion("Finish")], listed)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(script.models)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._send(script.next_reply(json.loads(body), self.headers["authorization"]))

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.wait_s)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            if reply.head is not None:
                body = reply.head + body
                self.close_connection = True
                with suppress(OSError):
                    for part in [bytes([b]) for b in body] if reply.drip_s else [body]:
                        time.sleep(reply.drip_s)
                        self.wfile.write(part)
                        self.wfile.flush()
                return
            self.send_response(reply.status or 200)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) + (reply.status == 0)))
            self.end_headers()
            with suppress(OSError):
                for part in [bytes([b]) for b in body] if reply.drip_s else [body]:
                    time.sleep(reply.drip_s)
                    self.wfile.write(part)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = _Server(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
