"""Calls of functions as text: ``<tool_call>`` with a JSON object, as Hermes and Qwen write them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from hlmat.transforms.prompting.bare_answer import bare_answer
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.strict_json import (
    expect_keys,
    parse_strict_json,
    shown,
)

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def tool_call_text(name: str, arguments: str) -> str:
    """Write a call.

    Args:
        name: of the function.
        arguments: a JSON object as text.

    >>> tool_call_text("stop", "{}")
    '<tool_call>\\n{"name": "stop", "arguments": {}}\\n</tool_call>'
    """
    return f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n</tool_call>'


def parse_tool_call(text: str) -> tuple[str, Any]:
    """Return the function and the arguments of the one call in an answer.

    What `bare_answer` leaves out may stand around it.

    Raises:
        ValueError: no call, several, or text beside it.

    >>> parse_tool_call('<tool_call>{"name": "stop", "arguments": {}}</tool_call>')
    ('stop', {})
    """
    answer = bare_answer(text)
    calls = _CALL.findall(answer)
    if not calls:
        raise ValueError("no call of a function: expected <tool_call>...</tool_call>")
    if len(calls) > 1:
        raise ValueError(f"{len(calls)} calls of functions, expected one")
    if _CALL.fullmatch(answer) is None:
        raise ValueError("text beside the call of a function, expected the call alone")
    call = expect_keys(parse_strict_json(calls[0]), "name", "arguments")
    if not isinstance(call["name"], str):
        raise ValueError(f"the function {shown(call['name'])}, expected a name")
    return call["name"], call["arguments"]


def json_numbers(codec: CoordinateCodec, *pixels: tuple[int, int], size_hw: tuple[int, int]) -> str:
    """Write pixels as one JSON list of numbers."""
    numbers = [n for x, y in pixels for n in codec.numbers(x, y, size_hw=size_hw)]
    return f"[{', '.join(numbers)}]"


def function_entry(name: str, summary: str, **parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the declaration of a function, as in the field `tools` of a chat completion.

    Args:
        name: of the function.
        summary: what it does.
        parameters: their JSON Schemas; all are required.
    """
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": summary,
            "parameters": {
                "type": "object",
                "properties": parameters,
                "required": list(parameters),
            },
        },
    }


def system_with_functions(system: str, functions: str) -> str:
    """Return a system message that declares functions as well; see `functions_as_text`."""
    return f"{system}\n\n{functions_as_text(functions)}" if system else functions_as_text(functions)


def functions_as_text(functions: str) -> str:
    """Return a system message that declares functions to a model whose template cannot.

    The tags and the form of a call are those of Qwen's chat templates, after Hermes.

    Args:
        functions: a JSON list.
    """
    entries: Sequence[Any] = json.loads(functions)
    listed = "\n".join(json.dumps(entry) for entry in entries)
    return (
        "# Tools\n\nYou must call one function to answer. The functions are declared within "
        f"<tools></tools> tags:\n<tools>\n{listed}\n</tools>\n\n"
        "Answer with the name of the function and its arguments as a JSON object within "
        '<tool_call></tool_call> tags:\n<tool_call>\n{"name": <name>, "arguments": <object>}\n'
        "</tool_call>"
    )
