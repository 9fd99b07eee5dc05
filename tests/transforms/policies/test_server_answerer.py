"""Asking a server: what is sent, what is read, and everything that a server can do wrong."""

from __future__ import annotations

import base64
import pickle
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from answer_server import Reply, completion, scripted_server
from llama_factory_server import llama_factory_server
from tiny_models import make_tiny_model

from transforms.errors import AnswerError, ConfigError
from transforms.policies import server_answerer
from transforms.policies.checkpoint_answerer import CheckpointOptions, load_checkpoint_answerer
from transforms.policies.server_answerer import ServerAnswerer, ServerOptions, connect
from transforms.protocols import Question

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def question(name: str = "t") -> Question:
    return Question(name, 0, IMAGE, f"the {name}<image>")


def connected(url: str, **changes: Any) -> ServerAnswerer:
    return connect(ServerOptions(url, **{"retries": 2, **changes}))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "_FIRST_WAIT_S", 0.001)


def test_a_question_goes_out_whole_and_its_picture_exactly() -> None:
    with scripted_server(completion("Finish")) as server:
        assert connected(server.url, max_new_tokens=9, seed=4).answer([question("cup")]) == [
            "Finish"
        ]
    (request,) = server.requests
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("tiny", 9, 0.0)
    assert request["seed"] == 4
    text, picture = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "the cup"}
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(np.asarray(decoded)[..., ::-1], IMAGE)


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
    [(None, ""), ("", ""), ([{"type": "text", "text": "Fin"}, {"text": "ish"}], "Finish")],
)
def test_unusual_contents_are_texts(content: Any, text: str) -> None:
    with scripted_server(completion(content)) as server:
        assert connected(server.url).answer([question()]) == [text]


@pytest.mark.parametrize(
    "bad",
    [
        Reply({"error": "busy"}, status=503),
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0.01"}),
        Reply(b"<html>proxy</html>"),
        Reply({"choices": []}),
        Reply(b'{"choices": [', status=0),
    ],
    ids=["busy", "too many", "HTML", "no choices", "dropped half-way"],
)
def test_a_passing_trouble_is_tried_again(bad: Reply) -> None:
    with scripted_server(bad, bad, completion("Finish")) as server:
        assert connected(server.url).answer([question()]) == ["Finish"]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Reply({"error": "busy"}, status=500), r"in 3 tries; the last time: status 500.*busy"),
        (Reply(b"<html>proxy</html>"), r"in 3 tries; .*not a chat completion: <html>proxy"),
        (Reply({"error": "no such model"}, status=404), r"in 1 tries; .*status 404"),
        (Reply({"error": "who are you"}, status=401), r"in 1 tries; .*status 401"),
    ],
)
def test_a_lasting_trouble_is_told_and_costs_its_tries_once(bad: Reply, told: str) -> None:
    with scripted_server(bad) as server:
        answerer = connected(server.url)
        with pytest.raises(AnswerError, match=told) as caught:
            answerer.answer([question("cup")])
        assert "'cup'" in str(caught.value)
        assert "run the same command again" in str(caught.value)
        asked = len(server.requests)
        with pytest.raises(AnswerError, match="'cup'"):
            answerer.answer([question("pot")])
        assert len(server.requests) == asked


def test_a_slow_server_is_not_waited_for_without_end() -> None:
    with scripted_server(Reply({}, wait_s=0.5)) as server:
        answerer = connected(server.url, timeout_s=0.05, retries=1)
        with pytest.raises(AnswerError, match="in 2 tries; the last time: ReadTimeout"):
            answerer.answer([question()])


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answerer, "MAX_RESPONSE_BYTES", 1000)
    with (
        scripted_server(Reply(b"x" * 5000)) as server,
        pytest.raises(AnswerError, match="more than 1000 bytes"),
    ):
        connected(server.url, retries=0).answer([question()])


def test_a_server_that_goes_away_half_way_is_told() -> None:
    with scripted_server(completion("Finish")) as server:
        answerer = connected(server.url, retries=0)
        assert answerer.answer([question()]) == ["Finish"]
    with pytest.raises(AnswerError, match="ConnectError"):
        answerer.answer([question()])


def test_a_server_that_is_down_is_told_before_anything_is_done() -> None:
    with scripted_server() as server:
        url = server.url
    with pytest.raises(ConfigError, match=r"does not answer .*ConnectError.*start the server"):
        connect(ServerOptions(url))


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (Reply(b"<html>"), "does not answer as an OpenAI-compatible server does"),
        (Reply({"data": []}), "lists no model"),
        (Reply({"detail": "no"}, status=401), "does not answer as an OpenAI-compatible"),
        (("a", "b"), r"serves 2 models \(a, b\); choose one with --served-model"),
    ],
)
def test_what_is_no_such_server_is_told(models: Any, told: str) -> None:
    with scripted_server(models=models) as server, pytest.raises(ConfigError, match=told):
        connect(ServerOptions(server.url))


def test_a_model_is_chosen_by_name() -> None:
    with scripted_server(models=("a", "b")) as server:
        answerer = connected(server.url, model="b")
        assert answerer.describe()["served_model"] == "b"
        with pytest.raises(ConfigError, match=r"'c': .* serves a, b"):
            connected(server.url, model="c")


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with scripted_server() as server:
        answerer = connected(server.url, api_key_variable="MY_KEY")
        answerer.answer([question()])
    assert server.keys == ["Bearer secret"]
    assert "secret" not in str(answerer.describe())
    assert "secret" not in str(pickle.loads(pickle.dumps(ServerOptions("http://x/v1"))))


def test_options_say_everything_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        ServerOptions(
            "localhost", concurrency=0, retries=-1, timeout_s=0, api_key_variable="NONE_X"
        )
    told = str(caught.value)
    for part in ("'localhost' is no web address", "concurrency is 0", "retries is -1", "NONE_X"):
        assert part in told
    assert "timeout is 0 s" in told


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
