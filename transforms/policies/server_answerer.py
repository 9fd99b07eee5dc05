"""A model behind an OpenAI-compatible server: vLLM, SGLang, LLaMA-Factory's api and others."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import httpx

from transforms.errors import AnswerError, ConfigError
from transforms.prompts import IMAGE_MARK
from transforms.protocols import Image, Question

MAX_RESPONSE_BYTES = 8 << 20
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class ServerOptions:
    """Where the server is and how it is asked.

    Attributes:
        base_url: up to and including the version, such as ``http://localhost:8000/v1``.
        model: the model's name there; None takes the only one that the server lists.
        concurrency: requests under way at once.
        timeout_s: of one request, in seconds.
        retries: how often a failed request is made again.
        temperature: 0 is greedy.
        max_new_tokens: longest answer in tokens.
        seed: sent along, for servers that heed it.
        api_key_variable: the environment variable that holds the key; None sends no key.

    Raises:
        ConfigError: values out of range; all of them at once.
    """

    base_url: str
    model: str | None = None
    concurrency: int = 8
    timeout_s: float = 60.0
    retries: int = 3
    temperature: float = 0.0
    max_new_tokens: int = 32
    seed: int = 0
    api_key_variable: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not self.base_url.startswith(("http://", "https://")):
            problems.append(
                f"--server {self.base_url!r} is no web address; give one such as "
                "http://localhost:8000/v1"
            )
        problems += [
            f"the server's {name} is {value}; choose at least {least}"
            for name, value, least in (
                ("concurrency", self.concurrency, 1),
                ("retries", self.retries, 0),
                ("max_new_tokens", self.max_new_tokens, 1),
                ("temperature", self.temperature, 0),
            )
            if value < least
        ]
        if not self.timeout_s > 0:
            problems.append(f"the server's timeout is {self.timeout_s} s; choose one above 0")
        variable = self.api_key_variable
        if variable is not None and not os.environ.get(variable):
            problems.append(
                f"--api-key-variable {variable}: this environment variable is not set; export it"
            )
        if problems:
            raise ConfigError(problems)


def connect(options: ServerOptions) -> ServerAnswerer:
    """Ask the server which models it has, and return what asks one of them.

    Raises:
        ConfigError: the server does not answer as such a server does, or it is not clear which
            of its models is meant.
    """
    answerer = ServerAnswerer(options, model=options.model or "")
    names = answerer.list_models()
    if options.model is None:
        if len(names) != 1:
            raise ConfigError(
                [
                    f"{options.base_url} serves {len(names)} models ({', '.join(names)}); choose "
                    "one with --served-model"
                ]
            )
        answerer.model = names[0]
    elif options.model not in names:
        raise ConfigError(
            [
                f"--served-model {options.model!r}: {options.base_url} serves {', '.join(names)}; "
                "choose one of these"
            ]
        )
    return answerer


class ServerAnswerer:
    """Sends questions at once and their pictures inline, and waits for all answers.

    A request that fails is made again, later each time. Once one has failed for good, everything
    that is asked afterwards fails at once, so that a dead server costs its time-outs once.

    Args:
        options: where the server is and how it is asked.
        model: the model's name there.
    """

    def __init__(self, options: ServerOptions, *, model: str) -> None:
        self.model = model
        self._options = options
        self._given_up: str | None = None
        self._lock = threading.Lock()
        headers = {}
        if options.api_key_variable is not None:
            headers["Authorization"] = f"Bearer {os.environ[options.api_key_variable]}"
        # A proxy from the environment would stand between this machine and its own servers.
        self._client = httpx.Client(
            timeout=options.timeout_s, headers=headers, trust_env=False, follow_redirects=False
        )

    def describe(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model's name and how it generates; not where it is."""
        return {
            "served_model": self.model,
            "temperature": self._options.temperature,
            "max_new_tokens": self._options.max_new_tokens,
            "seed": self._options.seed if self._options.temperature else None,
        }

    def list_models(self) -> list[str]:
        """Return the names of the server's models.

        Raises:
            ConfigError: it cannot be reached, or answers something else.
        """
        url = f"{self._base_url}/models"
        try:
            response = self._client.get(url)
            names = [str(entry["id"]) for entry in response.json()["data"]]
            response.raise_for_status()
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                [
                    f"{url} does not answer as an OpenAI-compatible server does "
                    f"({type(error).__name__}: {_shortened(str(error))}); start the server, or "
                    "mend --server"
                ]
            ) from error
        if not names:
            raise ConfigError([f"{url} lists no model; start the server with one"])
        return names

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return one text per question, in order.

        Raises:
            AnswerError: a request failed for good, now or earlier.
        """
        if self._given_up is not None:
            raise AnswerError(self._given_up)
        with ThreadPoolExecutor(max_workers=self._options.concurrency) as pool:
            return list(pool.map(self._answer_one, questions))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _base_url(self) -> str:
        return self._options.base_url.rstrip("/")

    def _answer_one(self, question: Question) -> str:
        body = self._request_body(question)
        problem = ""
        for attempt in range(self._options.retries + 1):
            if self._given_up is not None:
                raise AnswerError(self._given_up)
            wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
            try:
                status, headers, data = self._post(body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {_shortened(str(error)) or 'no details'}"
            else:
                if status == 200:
                    text = _text_of(data)
                    if text is not None:
                        return text
                    problem = f"not a chat completion: {_shortened(_decoded(data))}"
                else:
                    problem = f"status {status}: {_shortened(_decoded(data))}"
                    if status not in _WORTH_RETRYING:
                        return self._give_up(question, problem, tries=attempt + 1)
                    wait_s = _wanted_wait(headers, default=wait_s)
            if attempt < self._options.retries:
                time.sleep(wait_s)
        return self._give_up(question, problem, tries=self._options.retries + 1)

    def _give_up(self, question: Question, problem: str, *, tries: int) -> str:
        with self._lock:
            if self._given_up is None:
                self._given_up = (
                    f"{self._base_url} gave no answer about {question.target_id!r} in {tries} "
                    f"tries; the last time: {problem}; see to the server and run the same command "
                    "again"
                )
        raise AnswerError(self._given_up)

    def _post(self, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        url = f"{self._base_url}/chat/completions"
        with self._client.stream("POST", url, json=body) as response:
            data = b""
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_RESPONSE_BYTES} bytes")
            return response.status_code, response.headers, data

    def _request_body(self, question: Question) -> dict[str, Any]:
        before, _, after = question.text.partition(IMAGE_MARK)
        picture = {"type": "image_url", "image_url": {"url": data_url(question.image)}}
        texts = [{"type": "text", "text": text} if text else None for text in (before, after)]
        content = [part for part in (texts[0], picture, texts[1]) if part is not None]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": self._options.temperature,
            "max_tokens": self._options.max_new_tokens,
            "seed": self._options.seed,
            "stream": False,
        }


def data_url(image: Image) -> str:
    """Return a picture as a PNG in a data URL: every pixel arrives as it is."""
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def _text_of(data: bytes) -> str | None:
    """Return the answer in a chat completion, "" where it is null; None for anything else."""
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return "".join(str(part) for part in parts)
    return content if isinstance(content, str) else None


def _wanted_wait(headers: httpx.Headers, *, default: float) -> float:
    try:
        return min(max(float(headers["retry-after"]), 0.0), _LONGEST_WAIT_S)
    except (KeyError, ValueError):
        return default


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
