"""Code that a recipe may run: a segmenter class in its own folder, or where the user points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def own_segmenter_path(
    path: Path, values: Mapping[str, Any], *, allowed: Sequence[str], problems: list[str]
) -> dict[str, Any]:
    """Return a file's settings with the folders in which its segmenter class is looked for.

    A recipe can come from a stranger, so a class that it names is loaded from the recipe's folder
    (or a folder below it) and never from the working folder or the installed packages. Nothing is
    imported here.

    Args:
        path: the file.
        values: its settings.
        allowed: further folders, named by the user with `--segmenter-path`.
        problems: takes what is wrong.
    """
    result = dict(values)
    home = path.parent.resolve()
    listed = result.pop("segmenter-path", None)
    if listed is None:
        listed = []
    names = listed if isinstance(listed, list) else [listed]
    folders = [home]
    for name in names:
        folder = (home / str(name)).resolve()
        if not folder.is_relative_to(home):
            problems.append(
                f"{path}: segmenter-path names {name}, outside the recipe's folder; a recipe loads "
                "code from its own folder only; give other folders on the command line, with "
                "--segmenter-path"
            )
        folders.insert(-1, folder)
    segmenter = values.get("segmenter")
    if not isinstance(segmenter, str) or ":" not in segmenter:
        if names:
            problems.append(
                f"{path}: segmenter-path goes with a segmenter class of your own, "
                "segmenter: module:Class"
            )
        return result
    module = segmenter.partition(":")[0]
    if any(_holds(folder, module, within=home) for folder in folders):
        return {**result, "segmenter-path": [str(folder) for folder in folders]}
    if not any(_holds(Path(folder), module, within=None) for folder in allowed):
        file = f"{module.replace('.', '/')}.py"
        problems.append(
            f"{path}: segmenter {segmenter!r}: the recipe's folder has no {file}; a recipe loads "
            "code from its own folder only; put the file there, or name its folder on the command "
            "line with --segmenter-path"
        )
    return result


def _holds(folder: Path, module: str, *, within: Path | None) -> bool:
    """Tell whether a folder holds a module's file, which does not lead out of `within`."""
    stem = folder.joinpath(*module.split("."))
    for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        if file.is_file() and (within is None or file.resolve().is_relative_to(within)):
            return True
    return False
