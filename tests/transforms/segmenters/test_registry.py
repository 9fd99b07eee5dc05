"""Segmenters by name and by dotted path, and everything that can be wrong with a user's class."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.disc import DiscSegmenter
from hlmat.transforms.segmenters.registry import (
    SEGMENTERS,
    SegmenterOptions,
    check_segmenter_name,
    load_segmenter,
    segmenter_identity,
)

DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
MODULE = """
class Fine:
    def __init__(self, scale=1, device="none", checkpoint=None):
        self.scale, self.device, self.checkpoint = scale, device, checkpoint
    def set_image(self, image): ...
    def predict(self, *, clicks, box=None, feedback=None): ...

class Identified(Fine):
    def identity(self):
        return {"weights_sha256": "abc", "scale": self.scale}

class Broken(Fine):
    def __init__(self):
        raise RuntimeError("no license key")

class NoPredict:
    def set_image(self, image): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module on the import path."""
    name = "users_tools"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "users_broken.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def problem(name: str, **arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_segmenter(SegmenterOptions(name, arguments=arguments))
    return str(caught.value)


def test_a_dotted_class_is_built_with_what_its_constructor_takes(module: str):
    options = SegmenterOptions(
        f"{module}:Fine", checkpoint="w.pt", device="cpu", arguments={"scale": 2}
    )
    built: Any = load_segmenter(options)
    assert (built.scale, built.device, built.checkpoint) == (2, "cpu", "w.pt")
    assert isinstance(
        load_segmenter(SegmenterOptions(DISC, arguments={"radius": 3})), DiscSegmenter
    )


def test_identity_holds_source_arguments_and_identity(module: str):
    options = SegmenterOptions(f"{module}:Identified", arguments={"scale": 2})
    identity = segmenter_identity(load_segmenter(options), options)
    assert identity["name"] == f"{module}:Identified"
    assert identity["argument scale"] == "2"
    assert (identity["weights_sha256"], identity["scale"]) == ("abc", 2)
    assert len(str(identity["source_sha256"])) == 64


def test_unknown_names_suggest_the_nearest():
    assert check_segmenter_name("graphcut") is None
    assert problem("grphcut") == (
        "--segmenter 'grphcut' is unknown; did you mean 'graphcut'? choose from "
        f"{', '.join(SEGMENTERS)}, or give package.module:Class or the address of a server"
    )
    assert problem(":Class") == (
        "--segmenter ':Class': a class of your own is given as package.module:Class"
    )


def test_what_is_wrong_with_a_users_class_is_reported(module: str):
    raising = 1 + next(i for i, line in enumerate(MODULE.splitlines()) if "no license key" in line)
    not_found = (
        "--segmenter '{0}:X': importing '{0}' failed: ModuleNotFoundError: No module named '{1}'"
        f"{{2}}; looked in {Path.cwd()}, the installed packages"
    )
    assert problem("nowhere_at_all:X") == not_found.format("nowhere_at_all", "nowhere_at_all", "")
    assert problem("users_broken:X") == not_found.format(
        "users_broken",
        "a_package_that_is_not_there",
        " (users_broken.py, line 1: import a_package_that_is_not_there)",
    )
    assert problem(f"{module}:Fin") == (
        f"--segmenter '{module}:Fin': module '{module}' has no class 'Fin'; did you mean 'Fine'?"
    )
    assert problem(f"{module}:Broken") == (
        f"--segmenter '{module}:Broken': constructing it failed: RuntimeError: no license key "
        f"({module}.py, line {raising}: {MODULE.splitlines()[raising - 1].strip()})"
    )
    assert problem(f"{module}:Fine", radius=3) == (
        f"--segmenter '{module}:Fine': constructing it failed: TypeError: Fine.__init__() got an "
        "unexpected keyword argument 'radius'"
    )
    assert problem(f"{module}:NoPredict") == (
        f"--segmenter '{module}:NoPredict': the class has no method predict; a segmenter needs "
        "set_image(image) and predict(*, clicks, box=None, feedback=None)"
    )


def test_a_function_is_refused_without_a_call(monkeypatch: pytest.MonkeyPatch):
    called: list[object] = []
    monkeypatch.setattr("os.system", lambda *arguments: called.append(arguments))
    assert problem("os:system", command="true") == (
        "--segmenter 'os:system': 'system' of 'os' is not a class"
    )
    assert called == []


@pytest.mark.parametrize("is_named", [True, False], ids=["search path", "working folder"])
def test_a_module_is_found_outside_the_import_path(
    is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"own_tool_{'named' if is_named else 'here'}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", ".")])
    monkeypatch.delitem(sys.modules, name, raising=False)
    search_path = (str(tmp_path),) if is_named else ()
    if not is_named:
        monkeypatch.chdir(tmp_path)
    built = load_segmenter(SegmenterOptions(f"{name}:Fine", search_path=search_path))
    assert type(built).__module__ == name
