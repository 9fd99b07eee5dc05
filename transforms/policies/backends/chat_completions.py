"""The wire format of an OpenAI-compatible server: requests, responses and retry waits."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import cv2

from hlmat.transforms.core.protocols import Image
from hlmat.transforms.policies.backends.options import ImageFormat
from hlmat.transforms.prompting.templates import IMAGE_MARK

_JPEG_QUALITY = 95


def chat_request(
    text: str,
    image: Image,
    *,
    image_format: ImageFormat,
    settings: Mapping[str, str | int | float],
) -> bytes:
    """Return the JSON body of a chat completion with one user message.

    Args:
        text: the question, with one ``<image>`` at the image's place.
        image: uint8 RGB. Shape: (H, W, 3).
        image_format: how the image is encoded.
        settings: other fields of the request, such as model and temperature.
    """
    before, _, after = text.partition(IMAGE_MARK)
    url = {"url": data_url(image, image_format=image_format)}
    content = [
        *([{"type": "text", "text": before}] if before else []),
        {"type": "image_url", "image_url": url},
        *([{"type": "text", "text": after}] if after else []),
    ]
    request = {**settings, "messages": [{"role": "user", "content": content}], "stream": False}
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


def completion_text(data: bytes) -> str | None:
    """Return the answer in a chat completion, "" if it is null; None for anything else."""
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


def retry_wait_s(headers: Mapping[str, str], *, default_s: float, longest_s: float) -> float:
    """Return the wait of the header Retry-After (a number or date), in [0, longest_s].

    Args:
        headers: of the response, with lower-case names.
        default_s: the wait without a readable header, in seconds.
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
