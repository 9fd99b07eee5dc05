"""A model behind an OpenAI-compatible server: vLLM, SGLang, LLaMA-Factory's api and others."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.protocols import Question
from hlmat.transforms.policies.backends.chat_completions import (
    chat_request,
    completion_text,
    model_names,
    retry_wait_s,
)
from hlmat.transforms.policies.backends.options import ServerOptions, check_key, read_key

MAX_RESPONSE_BYTES = 8 << 20
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = frozenset({408, 409, 425, 429, *range(500, 600)})
# The server rejects this one question; it may still answer others.
_ABOUT_ONE_QUESTION = frozenset({400, 413, 422})
_SHOWN_CHARACTERS = 300


def connect(options: ServerOptions) -> ServerAnswerer:
    """List the server's models and connect to one of them.

    Raises:
        ConfigError: the server cannot be reached or is not OpenAI-compatible, or the model is
            missing or ambiguous.
    """
    answerer = ServerAnswerer(options, model=options.model or "")
    names = answerer.list_models()
    if options.model is None:
        if len(names) != 1:
            raise ConfigError(
                [
                    f"--server {options.base_url} serves {len(names)} models "
                    f"({', '.join(names)}); choose one with --served-model"
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
    """Send questions concurrently with inline images; wait for all answers.

    A failed request is retried with growing waits. Once retries are exhausted, every later question
    fails immediately, so that a dead server costs its timeouts only once; an error about a single
    question (such as status 400) does not affect later ones.

    Args:
        options: address of the server and settings of its requests.
        model: the model's name on the server.

    Raises:
        ConfigError: the key is missing from this process's environment.
    """

    def __init__(self, options: ServerOptions, *, model: str) -> None:
        # The options may come from another machine whose environment has the key.
        check_key(options.api_key_variable)
        self.model = model
        self._options = options
        self._given_up: str | None = None
        self._key = read_key(options.api_key_variable)
        # Environment proxies must not intercept requests to local servers.
        self._client = httpx.Client(
            timeout=httpx.Timeout(options.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=options.concurrency),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            trust_env=False,
            follow_redirects=False,
        )
        self._finalizer = weakref.finalize(self, self._client.close)

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model's name and its generation settings, without the address."""
        return {
            "served_model": self.model,
            "temperature": self._options.temperature,
            "max_new_tokens": self._options.max_new_tokens,
            "seed": self._options.seed if self._options.temperature else None,
            "image_format": self._options.image_format,
        }

    def list_models(self) -> list[str]:
        """Return the names of the server's models.

        Raises:
            ConfigError: it cannot be reached, is not OpenAI-compatible, or lists no model.
        """
        url = f"{self._base_url}/models"
        advice = "start the server or fix --server"
        names = None
        try:
            status, _, data = self._send("GET", url)
        except httpx.HTTPError as error:
            seen = self._shown(error)
        else:
            seen = f"status {status}: {self._shown(data)}"
            names = model_names(data) if status == 200 else None
            if status in (401, 403):
                advice = "name the environment variable with its key by --api-key-variable"
                if self._key:
                    advice = f"{self._options.api_key_variable} holds another key; fix it"
        if names is None:
            raise ConfigError(
                [
                    f"{url}: expected a list of models as OpenAI-compatible servers give, got "
                    f"{seen}; {advice}"
                ]
            )
        if not names:
            raise ConfigError([f"{url} lists no models; start the server with one"])
        return names

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return one text per question, in order.

        Raises:
            AnswerError: a request failed after all retries, now or earlier.
        """
        if self._given_up is not None:
            raise AnswerError(self._given_up)
        batch = _Batch()
        with ThreadPoolExecutor(max_workers=self._options.concurrency) as pool:
            try:
                return list(pool.map(lambda question: self._answer_one(question, batch), questions))
            finally:
                batch.is_over.set()

    def close(self) -> None:
        """Close the connections."""
        self._finalizer()

    @property
    def _base_url(self) -> str:
        return self._options.base_url.rstrip("/")

    def _answer_one(self, question: Question, batch: _Batch) -> str:
        url = f"{self._base_url}/chat/completions"
        body = chat_request(
            question.text,
            question.image,
            image_format=self._options.image_format,
            settings={
                "model": self.model,
                "temperature": question.temperature if question.draw else self._options.temperature,
                "max_tokens": self._options.max_new_tokens,
                "seed": self._options.seed + question.draw,
            },
        )
        problem = ""
        tries = self._options.retries + 1
        for number in range(1, tries + 1):
            if self._given_up is not None:
                raise AnswerError(self._given_up)
            if batch.is_over.is_set():
                break
            wait_s = min(_FIRST_WAIT_S * 2 ** (number - 1), _LONGEST_WAIT_S)
            try:
                status, headers, data = self._send("POST", url, body=body)
            except httpx.HTTPError as error:
                problem = self._shown(error)
            else:
                text = completion_text(data) if status == 200 else None
                if text is not None:
                    return text
                kind = "not a chat completion" if status == 200 else f"status {status}"
                problem = f"{kind}: {self._shown(data)}"
                if status != 200 and status not in _WORTH_RETRYING:
                    is_last = status not in _ABOUT_ONE_QUESTION
                    raise self._failure(question, problem, batch, tries=number, is_last=is_last)
                wait_s = retry_wait_s(headers, default_s=wait_s, longest_s=_LONGEST_WAIT_S)
            if number < tries:
                batch.is_over.wait(wait_s)
        raise self._failure(question, problem, batch, tries=tries, is_last=True)

    def _failure(
        self, question: Question, problem: str, batch: _Batch, *, tries: int, is_last: bool
    ) -> AnswerError:
        """End the batch, and all later ones if `is_last`; return the error that came first."""
        with batch.lock:
            if not batch.is_over.is_set():
                batch.failure = (
                    f"{self._base_url} gave no answer about {question.target_id!r} in {tries} "
                    f"tries; last error: {problem}; check the server and run the same command again"
                )
                if is_last:
                    self._given_up = batch.failure
                batch.is_over.set()
        return AnswerError(batch.failure)

    def _send(
        self, method: str, url: str, *, body: bytes | None = None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Return status, headers and body. Raises httpx.HTTPError for an incomplete response."""
        ends_s = time.monotonic() + self._options.timeout_s
        kind = {} if body is None else {"Content-Type": "application/json"}
        with self._client.stream(method, url, content=body, headers=kind) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_RESPONSE_BYTES} bytes")
                if time.monotonic() > ends_s:
                    raise httpx.ReadTimeout(f"incomplete after {self._options.timeout_s} s")
            return response.status_code, response.headers, bytes(data)

    def _shown(self, problem: httpx.HTTPError | bytes) -> str:
        """Return an error or body as one short line without the key."""
        if isinstance(problem, bytes):
            text = problem.decode("utf-8", "replace")
        else:
            text = f"{type(problem).__name__}: {str(problem) or 'no details'}"
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


@dataclass
class _Batch:
    """Questions asked together; the first failure stops the others."""

    failure: str = "the batch was cancelled"
    is_over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
