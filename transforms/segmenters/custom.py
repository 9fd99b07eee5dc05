"""User-defined segmenter classes, named `package.module:Class`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from hlmat.transforms.core.error_place import error_place
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import closest

_METHODS = ("set_image", "predict")


def import_segmenter_class(dotted: str, *, search_path: Sequence[str] = ()) -> type:
    """Import a class that has the methods of a segmenter, without calling it.

    Args:
        dotted: `package.module:Class`.
        search_path: folders searched for the module before the installed packages.

    Raises:
        ConfigError: the module cannot be imported, has no such class, or the class lacks a method
            of `hlmat.Segmenter`.
    """
    module_name, _, attribute = dotted.partition(":")
    try:
        module = _import_from(module_name, search_path)
    # Importing runs the user's module, which may raise anything.
    except Exception as error:
        raise ConfigError(
            [
                f"--segmenter {dotted!r}: importing {module_name!r} failed: "
                f"{type(error).__name__}: {error}{error_place(error, caller=__file__)}; "
                f"looked in {_places(search_path)}"
            ]
        ) from error
    found = getattr(module, attribute, None)
    if not inspect.isclass(found):
        problem = f"module {module_name!r} has no class {attribute!r}"
        if found is not None:
            problem = f"{attribute!r} of {module_name!r} is not a class"
        raise ConfigError([f"--segmenter {dotted!r}: {problem}{_suggestion(attribute, module)}"])
    missing = [name for name in _METHODS if not callable(getattr(found, name, None))]
    if missing:
        raise ConfigError(
            [
                f"--segmenter {dotted!r}: the class has no method {' and no '.join(missing)}; a "
                "segmenter needs set_image(image) and predict(*, clicks, box=None, feedback=None)"
            ]
        )
    return found


def _import_from(module_name: str, search_path: Sequence[str]) -> ModuleType:
    with _first_on_path(search_path):
        return importlib.import_module(module_name)


@contextmanager
def _first_on_path(folders: Sequence[str]) -> Iterator[None]:
    """Put folders first on the import path, then last.

    First, so that modules next to it take precedence over installed packages of the same name; then
    last, so that they do not shadow later imports elsewhere, while the module's own late imports
    still work.
    """
    places = [os.path.abspath(folder) for folder in folders]
    sys.path[:0] = places
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)
        sys.path.extend(place for place in places if place not in sys.path)


def _places(search_path: Sequence[str]) -> str:
    return ", ".join([*map(os.path.abspath, search_path), "the installed packages"])


def _suggestion(attribute: str, module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    meant = closest(attribute, names)
    return "" if meant is None else f"; did you mean {meant!r}?"
