"""Calls of functions as text, as the templates of the model families write them.

Written is ``<tool_call>`` with a JSON object, after Hermes, as in Qwen2.5 and Qwen3. Read are also
the form of Qwen3.5, ``<function=...>`` with ``<parameter=...>``, and that of GLM-4.5, the name with
``<arg_key>`` and ``<arg_value>``: a model that was trained with LLaMA-Factory's template of its
family answers in these.
"""

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

_CALL_STARTS, _CALL_ENDS = "<tool_call>", "</tool_call>"
_FUNCTION = re.compile(r"<function=(\w+)>(.*)</function>", re.DOTALL)
_PARAMETER_STARTS, _PARAMETER_ENDS = re.compile(r"\s*<parameter=(\w+)>"), "</parameter>"
_NAMED = re.compile(r"(\w+)\s*((?:<arg_key>.*</arg_value>)?)", re.DOTALL)
_ARGUMENT_STARTS = re.compile(r"\s*<arg_key>\s*(\w+)\s*</arg_key>\s*<arg_value>")
_ARGUMENT_ENDS = "</arg_value>"


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
        ValueError: no call, several, or text around it.

    >>> parse_tool_call('<tool_call>{"name": "stop", "arguments": {}}</tool_call>')
    ('stop', {})
    """
    answer = bare_answer(text)
    starts, ends = answer.count(_CALL_STARTS), answer.count(_CALL_ENDS)
    if starts > 1:
        raise ValueError(f"{starts} calls of functions, expected one")
    inside = answer.removeprefix(_CALL_STARTS).removesuffix(_CALL_ENDS).strip()
    # LLaMA-Factory's template of GLM-4.5 does not close a call.
    if not starts or (not ends and _NAMED.fullmatch(inside) is None):
        raise ValueError("no call of a function: expected <tool_call>...</tool_call>")
    if _CALL_STARTS in inside or _CALL_ENDS in inside:
        raise ValueError("text around the call of a function, expected the call alone")
    return _call_in(inside)


def _call_in(text: str) -> tuple[str, Any]:
    """Return function and arguments of a call in one of the three forms."""
    if (tagged := _FUNCTION.fullmatch(text)) is not None:
        return tagged[1], _arguments(tagged[2], _PARAMETER_STARTS, _PARAMETER_ENDS)
    if (named := _NAMED.fullmatch(text)) is not None:
        return named[1], _arguments(named[2], _ARGUMENT_STARTS, _ARGUMENT_ENDS)
    call = expect_keys(parse_strict_json(text), "name", "arguments")
    if not isinstance(call["name"], str):
        raise ValueError(f"the function {shown(call['name'])}, expected a name")
    return call["name"], call["arguments"]


def _arguments(text: str, starts: re.Pattern[str], ends: str) -> dict[str, Any]:
    """Return arguments in tags; a list is JSON, anything else the text itself."""
    found: dict[str, Any] = {}
    text = text.rstrip()
    place = 0
    while place < len(text):
        start = starts.match(text, place)
        end = -1 if start is None else text.find(ends, start.end())
        if start is None or end < 0:
            raise ValueError("text around the arguments of a function, expected these alone")
        name, value = start[1], text[start.end() : end].strip()
        if name in found:
            raise ValueError(f"the argument {name!r} occurs twice in one call")
        found[name] = parse_strict_json(value) if value.startswith("[") else value
        place = end + len(ends)
    return found


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
