"""A model behind an OpenAI-compatible server: vLLM, SGLang, LLaMA-Factory's api and others."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hlmat.transforms.core.bounded_http import HttpClient, HttpError
from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.questions import AnswerText, Question
from hlmat.transforms.policies.backends.chat_completions import (
    chat_request,
    completion_text,
    model_names,
    retry_wait_s,
)
from hlmat.transforms.policies.backends.options import ServerOptions, check_key, read_key

MAX_RESPONSE_BYTES = 4 << 20
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = frozenset({408, 409, 425, 429, *range(500, 600)})
# The server rejects this one question; it may still answer others.
_ABOUT_ONE_QUESTION = frozenset({400, 413, 422})
_SHOWN_CHARACTERS = 300
_SHOWN_NAMES = 10
_HIDDEN = "***"
# Shorter ones, such as "none" or "0" for a server that accepts any key, occur in answers.
_SHORTEST_SECRET = 6


class _NoListError(ConfigError):
    """The server gives no usable list of models."""


def connect(options: ServerOptions) -> ServerAnswerer:
    """List the server's models and connect to one of them.

    A named model need not be listed by a server without a usable list, such as `transformers
    serve`, which loads any model by name: it is asked for one token instead.

    Raises:
        ConfigError: the server cannot be reached or is not OpenAI-compatible, or the model is
            missing or ambiguous.
    """
    answerer = ServerAnswerer(options, model=options.model or "")
    try:
        names = answerer.list_models()
    except _NoListError as error:
        if options.model is None:
            raise
        if answerer.completes():
            return answerer
        asked = f"a question to --served-model {options.model!r} was not answered either"
        raise ConfigError([f"{problem}; {asked}" for problem in error.problems]) from None
    if options.model is None:
        if len(names) != 1:
            raise ConfigError(
                [
                    f"--server {options.base_url} serves {len(names)} models "
                    f"({_listed(names)}); choose one with --served-model"
                ]
            )
        answerer.model = names[0]
    elif options.model not in names:
        raise ConfigError(
            [
                f"--served-model {options.model!r}: {options.base_url} serves {_listed(names)}; "
                "choose one of these"
            ]
        )
    return answerer


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(name[:_SHOWN_CHARACTERS] for name in names[:_SHOWN_NAMES]) + more


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
        self._client = HttpClient(
            timeout_s=options.timeout_s,
            max_bytes=MAX_RESPONSE_BYTES,
            connections=options.concurrency,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
        )
        self._finalizer = weakref.finalize(self, self._client.close)

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model's name and its generation settings, without the address."""
        interface = self._options.tool_interface
        return {
            "served_model": self.model,
            "temperature": self._options.temperature,
            "max_new_tokens": self._options.max_new_tokens,
            "seed": self._options.seed if self._options.temperature else None,
            "image_format": self._options.image_format,
            # Omitted if it is the default, so that finished runs keep their fingerprints.
            **({} if interface == "text" else {"tool_interface": interface}),
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
            response = self._client.send("GET", url)
        except HttpError as error:
            seen = self._shown(error)
        else:
            seen = f"status {response.status}: {self._shown(response.body)}"
            names = model_names(response.body) if response.status == 200 else None
            if response.status in (401, 403):
                advice = "name the environment variable with its key by --api-key-variable"
                if self._key:
                    advice = f"{self._options.api_key_variable} holds another key; fix it"
        if names is None:
            raise _NoListError(
                [
                    f"{url}: expected a list of models as OpenAI-compatible servers give, got "
                    f"{seen}; {advice}"
                ]
            )
        if not names:
            raise _NoListError([f"{url} lists no models; start the server with one"])
        if self._key and any(self._key in name for name in names):
            raise ConfigError(
                [
                    f"{url} lists the key of {self._options.api_key_variable} as the name of a "
                    "model; this server repeats keys, so use another"
                ]
            )
        return names

    def completes(self) -> bool:
        """Whether the server gives a chat completion of one token by the model."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "."}],
            "max_tokens": 1,
            "temperature": 0,
            "stream": False,
        }
        try:
            url = f"{self._base_url}/chat/completions"
            response = self._client.send("POST", url, body=json.dumps(body).encode("ascii"))
        except HttpError:
            return False
        text = completion_text(response.body, max_new_tokens=1) if response.status == 200 else None
        return text is not None

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return one `AnswerText` per question, in order.

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

    def _answer_one(self, question: Question, batch: _Batch) -> AnswerText:
        url = f"{self._base_url}/chat/completions"
        body = chat_request(
            question,
            image_format=self._options.image_format,
            tool_interface=self._options.tool_interface,
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
                response = self._client.send("POST", url, body=body)
            except HttpError as error:
                problem = self._shown(error)
            else:
                status = response.status
                text = self._text(response.body, question) if status == 200 else None
                if text is not None:
                    return text
                kind = "not a chat completion" if status == 200 else f"status {status}"
                problem = f"{kind}: {self._shown(response.body)}"
                if status != 200 and status not in _WORTH_RETRYING:
                    is_last = status not in _ABOUT_ONE_QUESTION
                    raise self._failure(question, problem, batch, tries=number, is_last=is_last)
                wait_s = retry_wait_s(response.headers, default_s=wait_s, longest_s=_LONGEST_WAIT_S)
            if number < tries:
                batch.is_over.wait(wait_s)
        raise self._failure(question, problem, batch, tries=tries, is_last=True)

    def _text(self, body: bytes, question: Question) -> AnswerText | None:
        """Return the answer in a chat completion, without the key; None for anything else."""
        text = completion_text(
            body,
            max_new_tokens=self._options.max_new_tokens,
            keeps_reasoning=question.keeps_reasoning,
            has_functions=bool(question.functions) and self._options.tool_interface == "server",
        )
        if text is None or len(self._key) < _SHORTEST_SECRET:
            return text
        flaw = None if text.flaw is None else self._without_key(text.flaw)
        return AnswerText(self._without_key(text), flaw=flaw)

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

    def _shown(self, problem: HttpError | bytes) -> str:
        """Return an error or body as one short line without the key."""
        text = problem.decode("utf-8", "replace") if isinstance(problem, bytes) else str(problem)
        text = " ".join(self._without_key(text).split())
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, _HIDDEN) if self._key else text


@dataclass
class _Batch:
    """Questions asked together; the first failure stops the others."""

    failure: str = "the batch was cancelled"
    is_over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
