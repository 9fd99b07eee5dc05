"""Where a model's answers come from: a checkpoint, a server, or a record of earlier answers."""

from __future__ import annotations

import os
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import HiddenValueError, options, setting
from hlmat.transforms.prompting.options import TRAINER_PIXELS

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
ImageFormat = Literal["png", "jpeg"]
ToolInterface = Literal["text", "server"]
ScoreReading = Literal["written", "expected"]


def read_key(variable: str | None) -> str:
    """Return the key in an environment variable, "" for none."""
    return "" if variable is None else os.environ.get(variable, "").strip()


def check_key(variable: str | None) -> None:
    """Check that this process's environment has the key.

    Raises:
        ConfigError: the variable is not set, or its value cannot be a key.
    """
    try:
        _checked_key(variable)
    except ValueError as error:
        raise ConfigError([f"--api-key-variable {variable}: {error}"]) from None


def _checked_key(variable: str | None) -> str | None:
    """Refuse an invalid key; say what is wrong with it, not what it is."""
    key = read_key(variable)
    if variable is not None and not key:
        raise ValueError("this environment variable is not set; export it")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(
            "its value cannot be a key, which is one word of ASCII characters; export the right one"
        )
    return variable


def _checked_address(url: str) -> str:
    import httpx

    cure = "give a web address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port, httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ValueError("expected a web address such as http://localhost:8000/v1") from None
    if not is_address:
        raise ValueError("expected a web address such as http://localhost:8000/v1")
    if parts.username is not None:
        raise HiddenValueError(
            f"must not hold a user name; {cure} and the key with --api-key-variable"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"must end with the path; {cure}")
    return url


@options
class SamplingOptions:
    """How a model writes its answers."""

    max_new_tokens: int = setting(
        default=32, kw_only=True, ge=1, metavar="N", help="where an answer is cut off, in tokens"
    )
    temperature: float = setting(
        default=0.0,
        kw_only=True,
        ge=0,
        metavar="T",
        help="0 takes the likeliest token; above, tokens are drawn",
    )
    seed: int = setting(default=0, kw_only=True, ge=0, help="of the draws; a server may ignore it")


@options
class CheckpointOptions(SamplingOptions):
    """Which checkpoint answers, and how.

    Attributes:
        model: a folder, or an id `org/name` in the Hugging Face cache; the folder of a LoRA adapter
            means the adapter on its base model.
        batch_size: halved permanently when out of memory. Answers depend on it only through
            rounding.
        score_reading: "expected" puts the expected value over the probabilities of a score's digits
            in the place of the score written.
        always_click: the answer `Finish` is never given; the likeliest other one is.

    Raises:
        OptionsError: a value out of its range.
    """

    model: str = setting(min_length=1, metavar="DIR", help="the folder of a checkpoint")
    adapter: str | None = setting(
        default=None, min_length=1, metavar="DIR", help="the folder of a LoRA adapter for --model"
    )
    device: str = setting(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$",
        metavar="DEV",
        help="auto, cpu, cuda, cuda:N or mps",
    )
    dtype: Dtype = setting(default="auto", metavar="T", help="auto for the checkpoint's own")
    batch_size: int = setting(default=16, ge=1, metavar="N", help="questions asked at once")
    score_reading: ScoreReading = setting(
        default="written",
        metavar="R",
        help="with --score, mllm: the score as written, or expected over its digits' probabilities",
    )
    always_click: bool = setting(
        default=False, help="mllm: never let the model answer Finish; stop by other rules"
    )


@options
class ServerOptions(SamplingOptions):
    """The address of a server and the settings of its requests.

    Attributes:
        base_url: up to and including the version. Proxies and passwords from the environment or a
            .netrc file are ignored.
        timeout_s: of a request; a response that has begun may take as long again.
        api_key_variable: None sends no key. White space around the key is removed.
        image_format: png is lossless; jpeg is smaller.
        tool_interface: how functions that a model may call are declared: as text in the system
            message, which any server takes, or in the server's own fields `tools` and `tool_calls`.
        max_pixels: matters for coordinates in pixels: servers do not report the size at which their
            model sees an image, so no larger image is sent. The default is LLaMA-Factory's limit,
            the lowest of the usual servers.

    Raises:
        OptionsError: values out of range; all of them at once.
    """

    base_url: Annotated[str, AfterValidator(_checked_address)] = setting(
        metavar="URL", help="the server's address, such as http://localhost:8000/v1"
    )
    model: str | None = setting(
        default=None, metavar="NAME", help="the model's name there; the only one else"
    )
    concurrency: int = setting(default=8, ge=1, help="requests under way at once")
    timeout_s: float = setting(default=60.0, gt=0, metavar="S", help="time of a request in seconds")
    retries: int = setting(
        default=3, ge=0, metavar="N", help="how often a failed request is made again"
    )
    api_key_variable: Annotated[str | None, AfterValidator(_checked_key)] = setting(
        default=None, metavar="VAR", help="environment variable that holds the key"
    )
    image_format: ImageFormat = setting(
        default="png", metavar="F", help="how images are sent: png keeps every pixel"
    )
    tool_interface: ToolInterface = setting(
        default="text", metavar="I", help="where functions are declared and called"
    )
    max_pixels: int = setting(
        default=TRAINER_PIXELS,
        ge=1,
        metavar="N",
        help="the area in pixels up to which the server passes images on unchanged",
    )


@options
class ReplayOptions:
    """Recorded answers."""

    path: str = setting(metavar="FILE", help="predictions.json, or JSON lines of answers")


AnswererOptions = CheckpointOptions | ServerOptions | ReplayOptions
