"""The names that each sub-package re-exports: those that modules outside it import from it.

`python tests/public_names.py` rewrites the stubs, `__init__.pyi`, after a change.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "hlmat"
TOPS = ("export", "pipelines", "transforms")


def sub_packages() -> list[Path]:
    """Return the folders of the sub-packages that hold modules."""
    return sorted(
        folder
        for top in TOPS
        for folder in (path.parent for path in (PACKAGE / top).rglob("__init__.py"))
        if any(path.name != "__init__.py" for path in folder.glob("*.py"))
    )


def expected_stubs() -> dict[Path, str]:
    """Return the text of each stub; a sub-package that others import nothing from has none."""
    imported: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    for source in (path for top in TOPS for path in (PACKAGE / top).rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("hlmat."):
                continue
            module = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            home = module.parent
            if module.with_suffix(".py").is_file() and not source.is_relative_to(home):
                imported[home] |= {(module.name, alias.name) for alias in node.names}
    stubs = {folder: _stub(folder, imported[folder]) for folder in sub_packages()}
    return {folder: text for folder, text in stubs.items() if text}


def _stub(folder: Path, names: set[tuple[str, str]]) -> str:
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    homes: dict[str, list[str]] = defaultdict(list)
    for module, name in names:
        homes[name].append(module)
    lines = [
        f"from .{found[0]} import {name} as {name}"
        for name, found in homes.items()
        # A name of two modules, or of a module itself, is imported from where it is defined.
        if len(found) == 1 and name not in modules and not name.startswith("_")
    ]
    return "".join(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    for place, text in expected_stubs().items():
        (place / "__init__.pyi").write_text(text, encoding="utf-8")
    sys.exit(0)
