"""Settings in YAML: one mapping, no duplicate keys, 1e-5 read as a number."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.plain_content import check_expansion


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses duplicate keys and reads 1e-5 as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a name must be a text, not a list or mapping", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _load(text: str) -> Any:
    """Load YAML that is not deep, has no part of itself, and does not grow by its aliases.

    Raises:
        yaml.YAMLError, ValueError: it is none.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    check_expansion(content, size=len(text))
    return content


def read_settings(path: Path, *, problems: list[str]) -> dict[str, Any]:
    """Read a file's mapping; an empty file gives an empty one.

    Args:
        path: the YAML file.
        problems: problems are appended here.
    """
    try:
        content = _load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}
    except (yaml.YAMLError, ValueError) as error:
        problems.append(f"{path} is not YAML: {error}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        problems.append(f"{path}: expected lines of `name: value`")
        return {}
    return content


def read_override(text: str) -> tuple[str, Any]:
    """Read `KEY=VALUE`, the value as in YAML.

    Raises:
        ConfigError: the text has another form.

    >>> read_override("learning_rate=1e-5")
    ('learning_rate', 1e-05)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError([f"--set {text!r}: expected KEY=VALUE, as learning_rate=1e-5"])
    try:
        return key.strip(), _load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([f"--set {text!r}: the value is not YAML: {error}"]) from error
