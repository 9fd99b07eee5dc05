"""The names of classes in mask images: `classes.txt`, `labelmap.txt` or a JSON file."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.levels import Levels
from hlmat.transforms.readers.text_files import read_text

CLASS_FILES = ("classes.txt", "classes.json", "labelmap.txt", "categories.json")
"""Files in the data root that may list the names; the first one found is read."""

_BACKGROUNDS = {"background", "bg", "void", "unlabeled", "unlabelled", "ignore", "none", "other"}
_NUMBERED = re.compile(r"(#[0-9a-fA-F]{6}|[0-9]{1,5})\s*[:=,;\s]\s*(\S.*)")
_LABELMAP = re.compile(r"([^:#]+):([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})(?::.*)?")
_ID_KEYS, _NAME_KEYS = ("id", "value", "index"), ("name", "label", "class")


@dataclass(frozen=True)
class ClassNames:
    """The names of the levels of mask images.

    Attributes:
        by_value: names by grey value or palette index.
        by_colour: names by colour, 0xRRGGBB.
        path: of the file they come from; empty without one.
    """

    by_value: Mapping[int, str] = field(default_factory=dict)
    by_colour: Mapping[int, str] = field(default_factory=dict)
    path: str = ""

    def name_of(self, levels: Levels, code: int) -> str | None:
        """Return the name of a level of an image; None if it has none.

        A colour takes precedence over a number: the colours of a palette are the same in every
        tool.
        """
        colour = levels.colour(code)
        if colour is not None:
            red, green, blue = colour
            name = self.by_colour.get(red << 16 | green << 8 | blue)
            if name is not None:
                return name
        return self.by_value.get(code) if levels.is_numbered else None

    def is_background(self, levels: Levels, code: int) -> bool:
        """Return whether a level is background: named so, or 0 (black) without another name."""
        name = self.name_of(levels, code)
        return code == 0 if name is None else is_background_name(name)


def is_background_name(name: str) -> bool:
    """Return whether a name marks a level as background.

    >>> is_background_name("__background__"), is_background_name("wall")
    (True, False)
    """
    return name.strip("_ ").casefold() in _BACKGROUNDS


def read_class_names(storage: Storage, root: str) -> ClassNames:
    """Read the class names in a data root; empty if no file lists them.

    A text file has a name per line: ``13 cat``, ``13: cat``, ``#C00000 chair``; or only names,
    numbered from 1, or from 0 if the first is a background. A `labelmap.txt` has ``name:R,G,B``.
    JSON is ``{"13": "cat"}``, ``{"cat": 13}``, ``[{"id": 13, "name": "cat"}]`` or a list of names.

    Raises:
        DataError: a file cannot be read.
    """
    for name in CLASS_FILES:
        path = posixpath.join(root, name)
        if storage.is_file(path):
            text = read_text(storage, path)
            pairs = _json_pairs(text, path) if name.endswith(".json") else _text_pairs(text)
            return _class_names(pairs, path)
    return ClassNames()


def _text_pairs(text: str) -> list[tuple[str, str]]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [x for x in lines if x and not re.fullmatch(r"#(?![0-9a-fA-F]{6}\b).*", x)]
    maps = [_LABELMAP.fullmatch(line) for line in lines]
    if lines and all(maps):
        return [(f"#{_hex(m[2], m[3], m[4])}", m[1]) for m in maps if m is not None]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(numbered):
        return [(m[1], m[2]) for m in numbered if m is not None]
    return _counted(lines)


def _hex(*channels: str) -> str:
    return "".join(f"{min(int(c), 255):02X}" for c in channels)


def _counted(names: Iterable[str]) -> list[tuple[str, str]]:
    """Number names without numbers; labelme lists ``__ignore__`` before its background."""
    kept = list(names)
    if kept and kept[0] == "__ignore__":
        kept = kept[1:]
    first = 0 if kept and is_background_name(kept[0]) else 1
    return [(str(number), name) for number, name in enumerate(kept, start=first)]


def _json_pairs(text: str, path: str) -> list[tuple[str, str]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if isinstance(content, dict):
        inner = next((content[k] for k in ("categories", "classes", "names") if k in content), None)
        content = content if inner is None else inner
    if isinstance(content, dict):
        if all(isinstance(value, int) for value in content.values()):
            return [(str(value), name) for name, value in content.items()]
        if all(isinstance(value, str) for value in content.values()):
            return list(content.items())
    if isinstance(content, list) and all(isinstance(entry, str) for entry in content):
        return _counted(content)
    if isinstance(content, list) and all(isinstance(entry, dict) for entry in content):
        found = [(_first(e, _ID_KEYS), _first(e, _NAME_KEYS)) for e in content]
        if all(i is not None and isinstance(n, str) for i, n in found):
            return [(str(i), str(n)) for i, n in found]
    raise DataError(
        f'{path} has no names of classes; expected {{"13": "cat"}}, {{"cat": 13}}, '
        '[{"id": 13, "name": "cat"}] or a list of names'
    )


def _first(entry: Mapping[str, object], keys: Iterable[str]) -> object:
    return next((entry[key] for key in keys if key in entry), None)


def _class_names(pairs: Iterable[tuple[str, str]], path: str) -> ClassNames:
    by_value: dict[int, str] = {}
    by_colour: dict[int, str] = {}
    for key, raw in pairs:
        name = " ".join(raw.split())
        if re.fullmatch(r"#[0-9a-fA-F]{6}", key):
            table, number = by_colour, int(key[1:], 16)
        elif re.fullmatch(r"[0-9]{1,5}", key):
            table, number = by_value, int(key)
        else:
            raise DataError(f"{path}: {key!r} is not a level; expected a number or #RRGGBB")
        if not name or table.get(number, name) != name:
            raise DataError(
                f"{path}: level {key} is named {table.get(number, '')!r} and {name!r}; expected "
                "one name"
            )
        table[number] = name
    return ClassNames(by_value, by_colour, path)
