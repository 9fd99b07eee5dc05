"""Each sub-package describes its content and re-exports what others use of it."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from public_names import PACKAGE, expected_stubs, sub_packages

STUBS = expected_stubs()
FOLDERS = sub_packages()


def name_of(folder: Path) -> str:
    return ".".join(("hlmat", *folder.relative_to(PACKAGE).parts))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_its_docstring_is_a_sentence(folder: Path):
    document = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert document is not None
    assert document.split("\n\n")[0].endswith(".")
    assert "TODO" not in document


def test_no_stub_is_left_over():
    assert {path.parent for path in PACKAGE.glob("*/**/__init__.pyi")} <= set(STUBS)


@pytest.mark.parametrize("folder", STUBS, ids=name_of)
def test_it_re_exports_what_others_use_of_it(folder: Path):
    stub = folder / "__init__.pyi"
    # Linters order imports in their own way.
    assert set(stub.read_text(encoding="utf-8").split("\n")) == set(STUBS[folder].split("\n")), (
        "run python tests/public_names.py to rewrite the stubs"
    )


@pytest.mark.parametrize("folder", STUBS, ids=name_of)
def test_every_name_resolves(folder: Path):
    package = importlib.import_module(name_of(folder))
    for name in package.__all__:
        assert inspect.getmodule(getattr(package, name)) is not package
