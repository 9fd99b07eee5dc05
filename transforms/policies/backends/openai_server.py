"""A model behind an OpenAI-compatible server: vLLM, SGLang, LLaMA-Factory's api and others."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import cv2
import httpx

from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.protocols import Image, Question
from hlmat.transforms.policies.backends.options import (
    ImageFormat,
    ServerOptions,
    check_key,
    read_key,
)
from hlmat.transforms.prompting.templates import IMAGE_MARK

MAX_RESPONSE_BYTES = 8 << 20
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = frozenset({408, 409, 425, 429, *range(500, 600)})
# The server means this one question; it may well answer the others.
_ABOUT_ONE_QUESTION = frozenset({400, 413, 422})
_SHOWN_CHARACTERS = 300
_JPEG_QUALITY = 95


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
    """Sends questions at once and their images inline, and waits for all answers.

    A request that fails is made again, later each time. Once one has failed for good, everything
    that is asked afterwards fails at once, so that a dead server costs its time-outs once; only
    where the server finds fault with a single question are the others still asked.

    Args:
        options: where the server is and how it is asked.
        model: the model's name there.

    Raises:
        ConfigError: the key is not in this process's environment.
    """

    def __init__(self, options: ServerOptions, *, model: str) -> None:
        # The options may come from another machine, whose environment had the key.
        check_key(options.api_key_variable)
        self.model = model
        self._options = options
        self._given_up: str | None = None
        self._key = read_key(options.api_key_variable)
        # A proxy from the environment would stand between this machine and its own servers.
        self._client = httpx.Client(
            timeout=httpx.Timeout(options.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=options.concurrency),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            trust_env=False,
            follow_redirects=False,
        )
        self._finalizer = weakref.finalize(self, self._client.close)

    def describe(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the model's name and how it generates; not where it is."""
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
            ConfigError: it cannot be reached, or answers something else.
        """
        url = f"{self._base_url}/models"
        advice = "start the server, or mend --server"
        names = None
        try:
            status, _, data = self._send("GET", url)
        except httpx.HTTPError as error:
            seen = self._told(error)
        else:
            seen = f"status {status}: {self._told(data)}"
            names = _model_names(data) if status == 200 else None
            if status in (401, 403):
                advice = "name the variable that holds its key with --api-key-variable"
                if self._key:
                    advice = (
                        f"{self._options.api_key_variable} holds another key; export the right one"
                    )
        if names is None:
            raise ConfigError(
                [f"{url} does not answer as an OpenAI-compatible server does ({seen}); {advice}"]
            )
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
        body = self._request_body(question)
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
                problem = self._told(error)
            else:
                text = _text_of(data) if status == 200 else None
                if text is not None:
                    return text
                kind = "not a chat completion" if status == 200 else f"status {status}"
                problem = f"{kind}: {self._told(data)}"
                if status != 200 and status not in _WORTH_RETRYING:
                    is_last = status not in _ABOUT_ONE_QUESTION
                    raise self._failure(question, problem, batch, tries=number, is_last=is_last)
                wait_s = _wanted_wait(headers, default=wait_s)
            if number < tries:
                batch.is_over.wait(wait_s)
        raise self._failure(question, problem, batch, tries=tries, is_last=True)

    def _failure(
        self, question: Question, problem: str, batch: _Batch, *, tries: int, is_last: bool
    ) -> AnswerError:
        """End the batch, and with `is_last` all asking; return the error of what failed first."""
        with batch.lock:
            if not batch.is_over.is_set():
                batch.failure = (
                    f"{self._base_url} gave no answer about {question.target_id!r} in {tries} "
                    f"tries; the last time: {problem}; see to the server and run the same command "
                    "again"
                )
                if is_last:
                    self._given_up = batch.failure
                batch.is_over.set()
        return AnswerError(batch.failure)

    def _send(
        self, method: str, url: str, *, body: bytes | None = None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Return status, headers and body. Raises httpx.HTTPError for what cannot be read whole."""
        ends_s = time.monotonic() + self._options.timeout_s
        kind = {} if body is None else {"Content-Type": "application/json"}
        with self._client.stream(method, url, content=body, headers=kind) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_RESPONSE_BYTES} bytes")
                if time.monotonic() > ends_s:
                    raise httpx.ReadTimeout(f"not all of it within {self._options.timeout_s} s")
            return response.status_code, response.headers, bytes(data)

    def _told(self, problem: httpx.HTTPError | bytes) -> str:
        """Return an error or a body in one short line, without the key."""
        if isinstance(problem, bytes):
            text = problem.decode("utf-8", "replace")
        else:
            text = f"{type(problem).__name__}: {str(problem) or 'no details'}"
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."

    def _request_body(self, question: Question) -> bytes:
        before, _, after = question.text.partition(IMAGE_MARK)
        image_part = {
            "type": "image_url",
            "image_url": {"url": data_url(question.image, image_format=self._options.image_format)},
        }
        texts = [{"type": "text", "text": text} if text else None for text in (before, after)]
        content = [part for part in (texts[0], image_part, texts[1]) if part is not None]
        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": question.temperature if question.draw else self._options.temperature,
            "max_tokens": self._options.max_new_tokens,
            "seed": self._options.seed + question.draw,
            "stream": False,
        }
        return json.dumps(request).encode("ascii")


def data_url(image: Image, *, image_format: ImageFormat = "png") -> str:
    """Return an image as a data URL; as a PNG every pixel arrives as it is."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if image_format == "jpeg" else []
    encoded = cv2.imencode(f".{image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
    return f"data:image/{image_format};base64," + base64.b64encode(encoded.tobytes()).decode()


@dataclass
class _Batch:
    """Questions asked together: when the first has failed for good, the others stop too."""

    failure: str = "the questions are no longer waited for"
    is_over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _model_names(data: bytes) -> list[str] | None:
    """Return the names in a list of models; None for anything else."""
    try:
        return [str(entry["id"]) for entry in json.loads(data)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _text_of(data: bytes) -> str | None:
    """Return the answer in a chat completion, "" where it is null; None for anything else."""
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _wanted_wait(headers: httpx.Headers, *, default: float) -> float:
    """Return what Retry-After says, in seconds or as a date, within bounds."""
    wanted = headers.get("retry-after", "")
    try:
        wait_s = float(wanted)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(wanted) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return default
    return default if math.isnan(wait_s) else min(max(wait_s, 0.0), _LONGEST_WAIT_S)
