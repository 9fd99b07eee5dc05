"""The wire format of an OpenAI-compatible server: requests, responses and retry waits."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import cv2

from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.questions import AnswerText, Question
from hlmat.transforms.policies.backends.options import ImageFormat, ToolInterface
from hlmat.transforms.prompting.dialogues.tool_calls import system_with_functions, tool_call_text
from hlmat.transforms.prompting.templates import IMAGE_MARK

_JPEG_QUALITY = 95
_SHOWN_CHARACTERS = 100


def chat_request(
    question: Question,
    *,
    image_format: ImageFormat,
    tool_interface: ToolInterface = "text",
    settings: Mapping[str, str | int | float],
) -> bytes:
    """Return the JSON body of a chat completion with one user message.

    Args:
        question: its text has one ``<image>`` at the image's place.
        image_format: how the image is encoded.
        tool_interface: whether functions are declared as text or as `tools`.
        settings: other fields of the request, such as model and temperature.
    """
    before, _, after = question.text.partition(IMAGE_MARK)
    url = {"url": data_url(question.image, image_format=image_format)}
    content = [
        *([{"type": "text", "text": before}] if before else []),
        {"type": "image_url", "image_url": url},
        *([{"type": "text", "text": after}] if after else []),
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    system = question.system
    if question.functions and tool_interface == "text":
        system = system_with_functions(system, question.functions)
    if system:
        messages.insert(0, {"role": "system", "content": system})
    request = {**settings, "messages": messages, "stream": False}
    if question.functions and tool_interface == "server":
        request["tools"] = json.loads(question.functions)
    return json.dumps(request).encode("ascii")


def data_url(image: Image, *, image_format: ImageFormat = "png") -> str:
    """Return an image as a data URL; PNG is lossless.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        image_format: how the image is encoded.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if image_format == "jpeg" else []
    encoded = cv2.imencode(f".{image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
    return f"data:image/{image_format};base64," + base64.b64encode(encoded.tobytes()).decode()


def model_names(data: bytes) -> list[str] | None:
    """Return the names in a response that lists models; None for anything else."""
    try:
        return [str(entry["id"]) for entry in json.loads(data)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def completion_text(
    data: bytes,
    *,
    max_new_tokens: int,
    keeps_reasoning: bool = False,
    has_functions: bool = False,
) -> AnswerText | None:
    """Return the answer in a chat completion; None for anything else.

    Separate reasoning is dropped, or kept in `<think>` tags if requested. Calls of declared
    functions become text in `<tool_call>` tags. If there is no answer, the reasoning of a model
    that finished is the answer: some servers label the whole text as reasoning.

    Args:
        data: the body of the response.
        max_new_tokens: the requested limit, to say where an answer was cut off.
        keeps_reasoning: whether reasoning is part of the answer.
        has_functions: whether functions were declared to the server.
    """
    try:
        choice = json.loads(data)["choices"][0]
        message = choice["message"]
        content = message["content"]
        text, reasoning = _text_of(content), _text_of(_reasoning_of(message))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
    if text is None:
        return None
    calls = _calls_of(message) if has_functions else ""
    flaw = _flaw(
        message, choice.get("finish_reason"), max_new_tokens=max_new_tokens, takes_calls=bool(calls)
    )
    text = "\n".join(part for part in (text.strip() if calls else text, calls) if part)
    if keeps_reasoning and reasoning and text.strip():
        return AnswerText(f"<think>{reasoning}</think>{text}", flaw=flaw)
    if text.strip() or not reasoning:
        return AnswerText(text, flaw=flaw or (None if text.strip() else "the answer is empty"))
    if flaw is not None:
        return AnswerText(f"<think>{reasoning}", flaw=f"{flaw}, during the reasoning")
    return AnswerText(reasoning, flaw="the answer is empty, all of it was taken for reasoning")


def _text_of(content: Any) -> str | None:
    """Return the text of a message's content, "" for none; None for anything else."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _reasoning_of(message: Mapping[str, Any]) -> Any:
    return message.get("reasoning_content") or message.get("reasoning")


def _calls_of(message: Mapping[str, Any]) -> str:
    """Return the calls of functions in a message as text; "" for none that can be read."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return ""
    texts = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return ""
        arguments = function.get("arguments", "{}")
        # Most servers send the model's own text, some the parsed value.
        arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
        texts.append(tool_call_text(function["name"], arguments.strip() or "{}"))
    return "\n".join(texts)


def _flaw(
    message: Mapping[str, Any], finish_reason: Any, *, max_new_tokens: int, takes_calls: bool
) -> str | None:
    """Return why a completion may contain no answer."""
    if finish_reason == "length":
        return f"cut off (finish_reason length) after --max-new-tokens {max_new_tokens} or fewer"
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        return f"the model refused: {refusal[:_SHOWN_CHARACTERS]}"
    if takes_calls and finish_reason in ("tool_calls", "function_call"):
        return None
    if message.get("tool_calls") and not takes_calls:
        return "a tool call instead of an answer (finish_reason tool_calls)"
    if finish_reason in (None, "stop", "eos_token", "stop_sequence"):
        return None
    return f"ended early (finish_reason {str(finish_reason)[:_SHOWN_CHARACTERS]})"


def retry_wait_s(headers: Mapping[str, str], *, default_s: float, longest_s: float) -> float:
    """Return the wait of the header Retry-After (a number or date), in [0, longest_s].

    Args:
        headers: of the response, with lower-case names.
        default_s: the wait if there is no readable header, in seconds.
        longest_s: upper bound, in seconds.
    """
    wanted = headers.get("retry-after", "")
    try:
        wait_s = float(wanted)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(wanted) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return default_s
    return default_s if math.isnan(wait_s) else min(max(wait_s, 0.0), longest_s)
