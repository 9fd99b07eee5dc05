"""Asking a server: what is sent, what is read, and everything that a server can do wrong."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from answer_server import Reply, completion, scripted_server
from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.questions import AnswerText, Question
from hlmat.transforms.policies.backends import openai_server as server_answerer
from hlmat.transforms.policies.backends.checkpoint.generate import (
    CheckpointOptions,
    load_checkpoint_answerer,
)
from hlmat.transforms.policies.backends.openai_server import ServerAnswerer, ServerOptions, connect
from llama_factory_server import llama_factory_server
from tiny_models import make_tiny_model

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def question(name: str = "t") -> Question:
    return Question(name, 0, IMAGE, f"the {name}<image>")


def connected(url: str, **changes: Any) -> ServerAnswerer:
    return connect(ServerOptions(url, **{"retries": 2, **changes}))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "_FIRST_WAIT_S", 0.001)


def test_a_question_goes_out_whole_and_its_image_exactly() -> None:
    with scripted_server(completion("Finish")) as server:
        assert connected(server.url, max_new_tokens=9, seed=4).answer([question("cup")]) == [
            "Finish"
        ]
    (request,) = server.requests
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("tiny", 9, 0.0)
    assert request["seed"] == 4
    text, image = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "the cup"}
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(np.asarray(decoded)[..., ::-1], IMAGE)


@pytest.mark.parametrize("text", ["<image>", "<image>after", "before<image>", "before<image>after"])
def test_the_image_stands_where_its_mark_stood(text: str) -> None:
    with scripted_server() as server:
        connected(server.url).answer([Question("t", 0, IMAGE, text)])
    parts = server.requests[0]["messages"][0]["content"]
    assert "".join(part.get("text", "<image>") for part in parts) == text


def test_a_text_of_any_characters_goes_out() -> None:
    with scripted_server() as server:
        connected(server.url).answer([question("tasse à café \ud800")])
    assert server.requests[0]["messages"][0]["content"][0]["text"] == "the tasse à café \ud800"


def test_an_image_can_go_out_as_jpeg() -> None:
    with scripted_server() as server:
        answerer = connected(server.url, image_format="jpeg")
        plain = np.full((16, 16, 3), (200, 100, 0), np.uint8)
        answerer.answer([Question("t", 0, plain, "<image>")])
    assert answerer.identity()["image_format"] == "jpeg"
    url = server.requests[0]["messages"][0]["content"][0]["image_url"]["url"]
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(np.asarray(decoded, np.int64)[..., ::-1] - plain).max() <= 3


def test_the_fingerprint_has_what_determines_answers_and_not_where_they_come_from() -> None:
    with scripted_server() as server:
        identity = connected(server.url, temperature=0.5, max_new_tokens=9, seed=4).identity()
        greedy = connected(server.url, concurrency=3, seed=4).identity()
    assert identity == {
        "served_model": "tiny",
        "temperature": 0.5,
        "max_new_tokens": 9,
        "seed": 4,
        "image_format": "png",
    }
    assert greedy["seed"] is None
    assert server.url not in str(greedy)


def test_answers_come_in_the_order_of_the_questions() -> None:
    partners = threading.Barrier(2, timeout=20)

    def echo(request: dict[str, Any], key: str | None) -> Reply:
        # Nobody is answered alone: requests one after another would wait for ever.
        partners.wait()
        text = request["messages"][0]["content"][0]["text"]
        return Reply(completion(text).body, wait_s=0.02 if "even" in text else 0.0)

    with scripted_server() as server:
        server.next_reply = echo
        names = [f"{'even' if k % 2 == 0 else 'odd'} {k}" for k in range(12)]
        answers = connected(server.url, concurrency=12).answer([question(n) for n in names])
    assert answers == [f"the {n}" for n in names]


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ""), ("", ""), ([{"text": "Fin"}, {"text": None}, {"text": "ish"}], "Finish")],
)
def test_unusual_contents_are_texts(content: Any, text: str) -> None:
    with scripted_server(completion(content)) as server:
        assert connected(server.url).answer([question()]) == [text]


@pytest.mark.parametrize(
    "bad",
    [
        Reply({"error": "busy"}, status=503),
        Reply({"error": "overloaded"}, status=529),
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0.01"}),
        Reply(b"<html>proxy</html>"),
        Reply({"choices": []}),
        Reply(b"[" * 100_000),
        Reply(b'{"choices": [', status=0),
    ],
    ids=["busy", "overloaded", "too many", "HTML", "no choices", "too deep", "dropped half-way"],
)
def test_a_passing_trouble_is_tried_again(bad: Reply) -> None:
    with scripted_server(bad, bad, completion("Finish")) as server:
        assert connected(server.url).answer([question()]) == ["Finish"]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("wanted", "waited_s"),
    [
        ("3600", 30.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 30.0),
        ("2.5", 2.5),
        ("0", 0.0),
        ("-1", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("nan", 0.001),
        ("soon", 0.001),
    ],
)
def test_a_server_s_wait_is_bounded_and_defaults_to_the_backoff(
    wanted: str, waited_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    class Recording(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return self.is_set()

    batch_class = server_answerer._Batch
    monkeypatch.setattr(server_answerer, "_Batch", lambda: batch_class(is_over=Recording()))
    bad = Reply({}, status=429, headers={"Retry-After": wanted})
    with scripted_server(bad, completion("Finish")) as server:
        assert connected(server.url).answer([question()]) == ["Finish"]
    assert waits == [waited_s]


@pytest.mark.parametrize(
    ("bad", "expected_message"),
    [
        (Reply({"error": "busy"}, status=500), r"in 3 tries; last error: status 500.*busy"),
        (Reply(b"<html>proxy</html>"), r"in 3 tries; .*not a chat completion: <html>proxy"),
        (Reply({"error": "no such model"}, status=404), r"in 1 tries; .*status 404"),
        (Reply({"error": "who are you"}, status=401), r"in 1 tries; .*status 401"),
    ],
)
def test_a_lasting_trouble_is_reported_and_costs_its_tries_once(
    bad: Reply, expected_message: str
) -> None:
    with scripted_server(bad) as server:
        answerer = connected(server.url)
        with pytest.raises(AnswerError, match=expected_message) as caught:
            answerer.answer([question("cup")])
        assert "'cup'" in str(caught.value)
        assert "run the same command again" in str(caught.value)
        asked = len(server.requests)
        with pytest.raises(AnswerError, match="'cup'"):
            answerer.answer([question("pot")])
        assert len(server.requests) == asked


def test_a_fault_in_one_question_leaves_the_others_to_be_asked() -> None:
    too_long = Reply({"error": "too long"}, status=400)
    with scripted_server(too_long, completion("Finish")) as server:
        answerer = connected(server.url)
        with pytest.raises(AnswerError, match=r"'cup' in 1 tries; .*status 400.*too long"):
            answerer.answer([question("cup")])
        assert answerer.answer([question("pot")]) == ["Finish"]


def test_no_question_waits_on_when_another_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    ended_early: list[bool] = []

    class Recording(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            ended_early.append(super().wait(timeout))
            return ended_early[-1]

    batch_class = server_answerer._Batch
    monkeypatch.setattr(server_answerer, "_Batch", lambda: batch_class(is_over=Recording()))

    def answer(request: dict[str, Any], key: str | None) -> Reply:
        if "cup" in str(request):
            waiting.set()
            return Reply({}, status=429, headers={"Retry-After": "30"})
        waiting.wait(20)
        return Reply({"error": "who are you"}, status=401)

    with scripted_server() as server:
        server.next_reply = answer
        with pytest.raises(AnswerError, match=r"'pot' in 1 tries; .*who are you"):
            connected(server.url).answer([question("cup"), question("pot")])
    assert ended_early == [True]


def test_a_slow_server_is_not_waited_for_without_end() -> None:
    with scripted_server(Reply({}, wait_s=1.5)) as server:
        answerer = connected(server.url, timeout_s=0.3, retries=1)
        with pytest.raises(AnswerError, match="in 2 tries; last error: ReadTimeout"):
            answerer.answer([question()])


def test_an_answer_that_trickles_in_is_not_waited_for_without_end() -> None:
    slow = Reply(completion("Finish" * 20).body, drip_s=0.05)
    with scripted_server(slow) as server:
        answerer = connected(server.url, timeout_s=0.4, retries=0)
        with pytest.raises(AnswerError, match="in 1 tries; last error: ReadTimeout"):
            answerer.answer([question()])


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "MAX_RESPONSE_BYTES", 1000)
    with (
        scripted_server(Reply(b"x" * 5000)) as server,
        pytest.raises(AnswerError, match="more than 1000 bytes"),
    ):
        connected(server.url, retries=0).answer([question()])
    with (
        scripted_server(models=Reply(b"x" * 5000)) as server,
        pytest.raises(ConfigError, match="more than 1000 bytes"),
    ):
        connected(server.url)


@pytest.mark.parametrize(
    ("reply", "text", "flaw"),
    [
        (completion("Finish", finish_reason="stop"), "Finish", None),
        (completion("Finish", reasoning_content="I think"), "Finish", None),
        (completion(" ", finish_reason="stop"), " ", "the answer is empty"),
        (
            completion("Fin", finish_reason="length"),
            "Fin",
            "cut off (finish_reason length) after --max-new-tokens 32 or fewer",
        ),
        (
            completion(None, finish_reason="length", reasoning_content="The user"),
            "<think>The user",
            "cut off (finish_reason length) after --max-new-tokens 32 or fewer, during the "
            "reasoning",
        ),
        (
            completion(None, finish_reason="stop", reasoning="Finish", reasoning_content=None),
            "Finish",
            "the answer is empty, all of it was taken for reasoning",
        ),
        (
            completion(None, finish_reason="tool_calls", tool_calls=[{"id": "1"}]),
            "",
            "a tool call instead of an answer (finish_reason tool_calls)",
        ),
        (
            completion(None, finish_reason="content_filter", refusal="I cannot help"),
            "",
            "the model refused: I cannot help",
        ),
        (completion("", finish_reason="abort"), "", "ended early (finish_reason abort)"),
        (completion("", finish_reason=[[1]]), "", "ended early (finish_reason [[1]])"),
    ],
)
def test_how_an_answer_ended_comes_with_it(reply: Reply, text: str, flaw: str | None) -> None:
    with scripted_server(reply) as server:
        (answer,) = connected(server.url).answer([question()])
    assert isinstance(answer, AnswerText)
    assert (str(answer), answer.flaw) == (text, flaw)


@pytest.mark.parametrize("level", [1, 2])
def test_compressed_bodies(level: int) -> None:
    body = json.dumps(completion("Finish").body).encode()
    for _ in range(level):
        body = gzip.compress(body)
    names = ", ".join(["gzip"] * level)
    with scripted_server(Reply(body, headers={"Content-Encoding": names})) as server:
        answerer = connected(server.url, retries=0)
        if level == 1:
            assert answerer.answer([question()]) == ["Finish"]
        else:
            with pytest.raises(AnswerError, match="in the encoding 'gzip, gzip', which was not"):
                answerer.answer([question()])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (gzip.compress(b"a" * 200_000_000, 1), r"more than \d+ bytes"),
        (gzip.compress(b"a" * 1000)[:-9], "a compressed body that is cut short"),
        (b"no gzip", "a compressed body that is damaged"),
    ],
    ids=["a bomb", "cut short", "damaged"],
)
def test_compressed_bodies_are_bounded(body: bytes, problem: str) -> None:
    with scripted_server(Reply(body, headers={"Content-Encoding": "gzip"})) as server:
        answerer = connected(server.url, retries=0)
        tracemalloc.start()
        try:
            with pytest.raises(AnswerError, match=problem):
                answerer.answer([question()])
            assert tracemalloc.get_traced_memory()[1] < 50e6
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", head=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000, drip_s=0.02),
        Reply(b"", head=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, drip_s=0.02),
        Reply(b"", head=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", drip_s=0.02),
    ],
    ids=["headers", "informational responses", "body"],
)
def test_one_deadline_bounds_all_of_a_response(reply: Reply) -> None:
    if reply.head and reply.head.endswith(b"99\r\n\r\n"):
        reply = replace(reply, body=b"a" * 99)
    with scripted_server(reply) as server:
        answerer = connected(server.url, timeout_s=0.5, retries=0)
        with pytest.raises(AnswerError, match="in 1 tries; last error: ReadTimeout"):
            answerer.answer([question()])


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"b" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        b"\x16\x03\x01\x00",
        b"",
    ],
)
def test_a_damaged_response_is_an_error_of_the_server(head: bytes) -> None:
    with scripted_server(Reply(b"", head=head)) as server:
        answerer = connected(server.url, timeout_s=5.0, retries=0)
        with pytest.raises(AnswerError, match="in 1 tries; last error: "):
            answerer.answer([question()])


def test_a_server_that_goes_away_half_way_is_reported() -> None:
    with scripted_server(completion("Finish")) as server:
        answerer = connected(server.url, retries=0)
        assert answerer.answer([question()]) == ["Finish"]
    with pytest.raises(AnswerError, match="ConnectError"):
        answerer.answer([question()])


def test_a_server_that_is_down_is_reported_before_anything_is_done() -> None:
    with scripted_server() as server:
        url = server.url
    with pytest.raises(
        ConfigError, match=r"expected a list of models .*ConnectError.*start the server"
    ):
        connect(ServerOptions(url))


@pytest.mark.parametrize(
    ("models", "expected_message"),
    [
        (Reply(b"<html>"), r"as OpenAI-compatible servers give, got .*<html>.*fix --server"),
        (Reply(b"[" * 100_000), "expected a list of models as OpenAI-compatible servers"),
        (Reply({"detail": "Not Found"}, status=404), r"status 404.*Not Found.*fix --server"),
        (Reply({"data": []}), "lists no model"),
        (Reply({"detail": "no"}, status=401), r"status 401.*no.*by --api-key-variable"),
        (("a", "b"), r"serves 2 models \(a, b\); choose one with --served-model"),
    ],
)
def test_what_is_no_such_server_is_reported(models: Any, expected_message: str) -> None:
    with (
        scripted_server(models=models) as server,
        pytest.raises(ConfigError, match=expected_message),
    ):
        connect(ServerOptions(server.url))


def test_a_model_is_chosen_by_name() -> None:
    with scripted_server(models=("a", "b")) as server:
        answerer = connected(server.url, model="b")
        assert answerer.identity()["served_model"] == "b"
        with pytest.raises(ConfigError, match=r"'c': .* serves a, b"):
            connected(server.url, model="c")


@pytest.mark.parametrize(
    "models",
    [
        Reply(b"Internal Server Error", status=500),  # transformers serve without a cache
        Reply({"data": []}),  # with an empty one
    ],
)
def test_a_named_model_needs_no_usable_list(models: Reply) -> None:
    with scripted_server(models=models) as server:
        answerer = connected(server.url, model="/models/teacher")
        assert answerer.identity()["served_model"] == "/models/teacher"
        (asked,) = server.requests
        assert (asked["model"], asked["max_tokens"]) == ("/models/teacher", 1)
        with pytest.raises(ConfigError, match="list"):
            connected(server.url)


@pytest.mark.parametrize(
    "reply",
    [Reply({"detail": "no such model"}, status=404), Reply({"detail": "hello"}), Reply(b"", 0)],
)
def test_a_named_model_that_a_server_lacks_is_reported(reply: Reply) -> None:
    with (
        scripted_server(reply, models=Reply({"detail": "Not Found"}, status=404)) as server,
        pytest.raises(
            ConfigError,
            match=r"expected a list of models .*status 404.*fix --server; a question to "
            "--served-model 'teacher' was not answered either$",
        ),
    ):
        connected(server.url, model="teacher")


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with scripted_server() as server:
        answerer = connected(server.url, api_key_variable="MY_KEY")
        answerer.answer([question()])
    assert server.keys == ["Bearer secret"]
    assert "secret" not in str(answerer.identity())
    assert "secret" not in str(pickle.loads(pickle.dumps(ServerOptions("http://x/v1"))))


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret\n")
    echo = Reply({"error": "secret is no key of mine"}, status=401)
    with scripted_server(echo) as server:
        answerer = connected(server.url, api_key_variable="MY_KEY")
        with pytest.raises(AnswerError, match=r"\*\*\* is no key of mine"):
            answerer.answer([question()])
    assert server.keys == ["Bearer secret"]
    with (
        scripted_server(models=echo) as server,
        pytest.raises(ConfigError, match=r"401: .*\*\*\* is no key.*; MY_KEY holds another key"),
    ):
        connected(server.url, api_key_variable="MY_KEY")
    for value in ("sécret", "sec ret", "sec\nret"):
        monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(ConfigError, match=r"'MY_KEY': its value cannot be a key") as caught:
            ServerOptions("http://x/v1", api_key_variable="MY_KEY")
        assert value not in str(caught.value)


def test_a_key_in_a_name_or_an_answer_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    for names in (["secret"], ["a", "my secret"]):
        with (
            scripted_server(models=names) as server,
            pytest.raises(ConfigError, match="lists the key of MY_KEY as the name") as caught,
        ):
            connected(server.url, api_key_variable="MY_KEY", model="a")
        assert "secret" not in str(caught.value)
    echo = completion("the secret", refusal="secret", finish_reason="content_filter")
    with scripted_server(echo) as server:
        (answer,) = connected(server.url, api_key_variable="MY_KEY").answer([question()])
    assert isinstance(answer, AnswerText)
    assert (str(answer), answer.flaw) == ("the ***", "the model refused: ***")


def test_a_key_that_is_a_word_of_answers_leaves_them_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "0")
    with scripted_server(completion("Positive point: (0.1, 0.2)")) as server:
        (answer,) = connected(server.url, api_key_variable="MY_KEY").answer([question()])
    assert answer == "Positive point: (0.1, 0.2)"


def test_a_key_that_another_machine_lacks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    sent = pickle.dumps(ServerOptions("http://x/v1", api_key_variable="MY_KEY"))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match="MY_KEY: this environment variable is not set"):
        connect(pickle.loads(sent))


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with scripted_server() as server:
        assert connected(server.url).answer([question()]) == ["Finish"]


@pytest.mark.parametrize(
    ("url", "expected_message"),
    [
        ("ftp://x/v1", "expected a web address such as"),
        ("http://", "expected a web address such as"),
        ("http://x:99999/v1", "expected a web address such as"),
        ("http://[x/v1", "expected a web address such as"),
        ("http://x/v1?key=1", "must end with the path"),
        ("http://me:word@x/v1", "must not hold a user name"),
    ],
)
def test_an_address_that_cannot_be_asked_is_reported(url: str, expected_message: str) -> None:
    with pytest.raises(ConfigError, match=expected_message) as caught:
        ServerOptions(url)
    assert "word@" not in str(caught.value)


def test_options_report_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        ServerOptions(
            "localhost",
            concurrency=0,
            retries=-1,
            timeout_s=0,
            temperature=float("nan"),
            api_key_variable="NONE_X",
            image_format="gif",  # pyright: ignore[reportArgumentType]
        )
    assert str(caught.value).splitlines() == [
        "ServerOptions.base_url 'localhost': expected a web address such as "
        "http://localhost:8000/v1",
        "ServerOptions.concurrency 0: must be at least 1",
        "ServerOptions.timeout_s 0: must be above 0",
        "ServerOptions.retries -1: must be at least 0",
        "ServerOptions.api_key_variable 'NONE_X': this environment variable is not set; export it",
        "ServerOptions.image_format 'gif': choose from png, jpeg",
        "ServerOptions.temperature nan: expected a number of at least 0",
    ]


@pytest.mark.slow
def test_a_real_server_answers_as_the_model_in_this_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    model = make_tiny_model("qwen3_vl", tmp_path / "model")
    rng = np.random.default_rng(1)
    questions = [
        Question(f"t{k}", 0, rng.integers(0, 256, (64, 96, 3), dtype=np.uint8), f"<image>cup {k}?")
        for k in range(3)
    ]
    here = load_checkpoint_answerer(
        CheckpointOptions(model, device="cpu", dtype="float32", max_new_tokens=6)
    ).answer(questions)
    log = tmp_path / "server.log"
    with llama_factory_server(model, template="qwen3_vl_nothink", key="secret", log=log) as url:
        with pytest.raises(ConfigError, match=r"status 401.*--api-key-variable"):
            connect(ServerOptions(url))
        answerer = connect(ServerOptions(url, max_new_tokens=6, api_key_variable="MY_KEY"))
        there = answerer.answer(questions)
        assert answerer.answer(questions[::-1]) == there[::-1]
        answerer.close()
    assert len(set(there)) > 1
    assert there == here


FUNCTIONS = '[{"type": "function", "function": {"name": "stop", "parameters": {}}}]'
STOP = {"id": "1", "type": "function", "function": {"name": "stop", "arguments": "{}"}}


def calling(**more: Any) -> Question:
    return replace(question("cup"), functions=FUNCTIONS, **more)


def test_functions_are_declared_in_text_by_default() -> None:
    written = "<tool_call>{}</tool_call>"
    with scripted_server(completion(written)) as server:
        assert connected(server.url).answer([calling(system="Be brief.")]) == [written]
    (request,) = server.requests
    assert "tools" not in request
    system, user = request["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith("Be brief.\n\n# Tools")
    assert json.dumps(json.loads(FUNCTIONS)[0]) in system["content"]


@pytest.mark.parametrize(
    ("message", "text", "flaw"),
    [
        (
            {"tool_calls": [STOP]},
            '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
            None,
        ),
        (
            {"tool_calls": [STOP, STOP]},
            '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>\n'
            '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
            None,
        ),
        (
            {"tool_calls": [{"function": {"name": "stop", "arguments": {"a": 1}}}]},
            '<tool_call>\n{"name": "stop", "arguments": {"a": 1}}\n</tool_call>',
            None,
        ),
        ({"tool_calls": [{"function": {"name": 1}}]}, "", "a tool call instead of an answer"),
        ({"tool_calls": "stop"}, "", "a tool call instead of an answer"),
    ],
)
def test_calls_through_the_server_become_text(
    message: dict[str, Any], text: str, flaw: str | None
) -> None:
    with scripted_server(completion(None, finish_reason="tool_calls", **message)) as server:
        answerer = connected(server.url, tool_interface="server")
        (answer,) = answerer.answer([calling()])
    assert server.requests[0]["tools"] == json.loads(FUNCTIONS)
    assert [m["role"] for m in server.requests[0]["messages"]] == ["user"]
    assert answer == text
    found = answer.flaw if isinstance(answer, AnswerText) else "no flaw known"
    assert found is None if flaw is None else (found or "").startswith(flaw)
    assert answerer.identity()["tool_interface"] == "server"


def test_reasoning_is_kept_where_it_belongs_to_the_answer() -> None:
    reply = completion("Finish", reasoning_content="It fits.")
    with scripted_server(reply) as server:
        kept, left_out = connected(server.url).answer(
            [replace(question(), keeps_reasoning=True), question()]
        )
    assert (kept, left_out) == ("<think>It fits.</think>Finish", "Finish")
