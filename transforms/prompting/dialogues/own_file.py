"""Dialogues of the user's own: a class in a Python file, named `FILE.py:Class`.

The file is one that the command line names; nothing is run that data, a checkpoint or a run's
folder holds or points to.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeVar

from hlmat.transforms.core.error_place import error_place
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Action, Answer, InvalidAction
from hlmat.transforms.core.suggestions import closest
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Message, Offer

Result = TypeVar("Result")

_METHODS = ("prompt", "write", "read")


@dataclass(frozen=True)
class OwnDialogue(Dialogue):
    """Passes everything on to a class in a file, which each process imports by its path.

    Attributes:
        path: of the file, absolute.
        attribute: the class.
        sha256: of the file's bytes when it was named; a worker refuses another content.
    """

    path: str
    attribute: str
    sha256: str

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The class's own name."""
        return self._made().name

    @property
    def codec(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Name of the coordinates that its models were trained with."""
        return self._made().codec

    @property
    def digits(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Decimals of these."""
        return self._made().digits

    @property
    def has_own_codec(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether these hold for a model of any family."""
        return self._made().has_own_codec

    @property
    def says(self) -> frozenset[type]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The kinds of actions that it has a form for."""
        return self._made().says

    @property
    def has_score(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether an answer can begin with a score."""
        return self._made().has_score

    @property
    def keeps_reasoning(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether reasoning belongs to the answer."""
        return self._made().keeps_reasoning

    def prompt(self, offer: Offer) -> str:
        """Return the template of the question."""
        return self._called("prompt", str, lambda d: d.prompt(offer))

    def system(self, offer: Offer) -> str:
        """Return the system message."""
        return self._called("system", str, lambda d: d.system(offer))

    def functions(self, offer: Offer) -> str:
        """Return the functions that a model may call."""
        return self._called("functions", str, lambda d: d.functions(offer))

    def message(self, answer: str) -> Message:
        """Return a written answer as a row of a training set holds it."""
        return self._called("message", Message, lambda d: d.message(answer))

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write an action."""
        return self._called(
            "write", str, lambda d: d.write(action, size_hw=size_hw, codec=codec, iou=iou)
        )

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse an answer; a ValueError of the class is the reason why it is invalid."""
        try:
            found = self._called(
                "read", Answer, lambda d: d.read(text, size_hw=size_hw, codec=codec)
            )
        except ValueError as error:
            return Answer(text, InvalidAction(text, str(error)))
        return found

    def identity(self) -> str:
        """Return name and content of the file, without its place."""
        return f"{os.path.basename(self.path)}:{self.attribute} {self.sha256}"

    def _made(self) -> Dialogue:
        return _made(self.path, self.attribute, self.sha256)

    def _called(
        self, method: str, expected: type[Result], call: Callable[[Dialogue], Result]
    ) -> Result:
        spelled = f"--dialogue {self.path}:{self.attribute}"
        try:
            result = call(self._made())
        except (ValueError, ConfigError):
            raise
        # Foreign code can raise anything.
        except Exception as error:
            raise ConfigError(
                [
                    f"{spelled}: {method} failed: {type(error).__name__}: {error}"
                    f"{error_place(error, caller=__file__)}; fix the class"
                ]
            ) from error
        if not isinstance(result, expected):
            raise ConfigError(
                [
                    f"{spelled}: {method} returned {type(result).__name__}, expected "
                    f"{expected.__name__}; fix the class"
                ]
            )
        return result


def load_own_dialogue(spelled: str) -> OwnDialogue:
    """Return a dialogue of the user's own.

    Args:
        spelled: `FILE.py:Class`; a relative path is one from the working folder.

    Raises:
        ConfigError: the file is missing or cannot be imported, or the class is missing, cannot be
            made without arguments, or has no `prompt`, `write` or `read`.
    """
    path, _, attribute = spelled.rpartition(":")
    if not path.endswith(".py") or not attribute.isidentifier():
        raise ConfigError(
            [f"--dialogue {spelled!r}: expected FILE.py:Class, such as mine.py:MyDialogue"]
        )
    path = os.path.abspath(path)
    digest = _sha256(path, spelled=spelled)
    _made(path, attribute, digest)
    return OwnDialogue(path, attribute, digest)


@lru_cache(maxsize=8)
def _made(path: str, attribute: str, sha256: str) -> Dialogue:
    spelled = f"{path}:{attribute}"
    if _sha256(path, spelled=spelled) != sha256:
        raise ConfigError(
            [f"--dialogue {spelled}: the file has changed since the run began; run it again"]
        )
    module = _imported(path, sha256, spelled=spelled)
    found: Any = getattr(module, attribute, None)
    if not inspect.isclass(found):
        names = [n for n, v in vars(module).items() if inspect.isclass(v)]
        meant = closest(attribute, names)
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        raise ConfigError([f"--dialogue {spelled}: the file has no class {attribute!r}{hint}"])
    missing = [
        name for name in _METHODS if getattr(found, name, None) in (None, getattr(Dialogue, name))
    ]
    if missing or not isinstance(getattr(found, "name", None), str):
        lacks = ", ".join([*missing, *([] if hasattr(found, "name") else ["name"])]) or "name"
        raise ConfigError(
            [
                f"--dialogue {spelled}: the class lacks {lacks}; inherit from "
                "hlmat.transforms.prompting.dialogues.Dialogue and define name, prompt, write and "
                "read"
            ]
        )
    try:
        made: Any = found()
        return made
    except Exception as error:
        raise ConfigError(
            [
                f"--dialogue {spelled}: making the class failed: {type(error).__name__}: {error}"
                f"{error_place(error, caller=__file__)}; it must need no arguments"
            ]
        ) from error


def _imported(path: str, sha256: str, *, spelled: str) -> ModuleType:
    name = f"hlmat_dialogue_{sha256[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their own module while they are made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            [
                f"--dialogue {spelled}: importing it failed: {type(error).__name__}: {error}"
                f"{error_place(error, caller=__file__)}; fix the file"
            ]
        ) from error
    return module


def _sha256(path: str, *, spelled: str) -> str:
    try:
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()
    except OSError as error:
        raise ConfigError(
            [f"--dialogue {spelled}: the file cannot be read ({error.strerror}); name a file here"]
        ) from error
