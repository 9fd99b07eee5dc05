"""The built distribution, installed outside the checkout and run in hostile folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from repository import REPOSITORY

pytestmark = pytest.mark.slow

_HOSTILE = ("transforms.py", "export.py", "hlmat.py", "pipelines/__init__.py")
_SHAPES = (
    "--dataset",
    "shapes",
    "--shapes-images",
    "3",
    "--shapes-size",
    "64x80",
    "-q",
    "--max-reject-rate",
    "0",
)

# A segmenter with a neighbor called like one of hlmat's packages.
_SEGMENTER = """\
import numpy as np

import transforms
from hlmat import Prediction


class Thresh:
    def set_image(self, image):
        self.mask = transforms.bright(image)

    def predict(self, *, clicks, box=None, feedback=None):
        return Prediction(mask=self.mask, feedback=None)
"""
_NEIGHBOR = """\
def bright(image):
    return image.mean(axis=2) > image.mean()
"""


@dataclass(frozen=True)
class Distribution:
    """Archives built from a copy of the tree's files, without what the checkout has on the side."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel in it."""

    bin: Path

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment; no variable points to the checkout."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )


def _build(kind: str, source: Path, into: Path) -> Path:
    into.mkdir(exist_ok=True)
    code = (
        "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", code, f"build_{kind}", str(into)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    root = tmp_path_factory.mktemp("distribution")
    source = root / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name, follow_symlinks=False)
    return Distribution(
        sdist=_build("sdist", source, root / "sdist"), wheel=_build("wheel", source, root / "wheel")
    )


@pytest.fixture(scope="module")
def installed(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "-q"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", distribution.wheel], check=True)
    # The dependencies of the tests' own environment. Python reads no .pth file of a folder that is
    # named in one, so an editable install of the checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return Installed(bin=folder / "bin")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    for name in _HOSTILE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(
            "raise ImportError('the working folder was imported')\n", encoding="utf-8"
        )
    return folder


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(filter(None, listed.split("\0")))


def test_the_wheel_installs_one_package(distribution: Distribution):
    top = {name.partition("/")[0] for name in _names(distribution.wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"hlmat"}


def test_the_wheel_has_every_module_and_recipe(distribution: Distribution):
    names = _names(distribution.wheel)
    folders = ("transforms", "pipelines", "export", "train_recipes")
    expected = {f"hlmat/{name}" for name in _tracked(*folders)}
    expected |= {f"hlmat/{n}" for n in ("__init__.py", "__init__.pyi", "__main__.py", "py.typed")}
    assert expected - names == set()


def test_the_sdist_builds_the_same_wheel(distribution: Distribution, tmp_path: Path):
    with tarfile.open(distribution.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert _names(_build("wheel", source, tmp_path / "wheel")) == _names(distribution.wheel)


def test_the_installed_package_is_the_wheels(installed: Installed, tmp_path: Path):
    code = "import hlmat, hlmat.transforms; print(hlmat.__file__, hlmat.transforms.__file__)"
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    environment = str(installed.bin.parent)
    assert [path.startswith(environment) for path in done.stdout.split()] == [True, True]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    "command", [("hlmat",), ("python", "-P", "-m", "hlmat")], ids=["script", "module"]
)
def test_modules_in_the_working_folder_are_not_imported(
    command: tuple[str, ...], workers: str, installed: Installed, hostile: Path
):
    done = installed.run(
        *command, "trajectories", *_SHAPES, "--workers", workers, "--out", "out", cwd=hostile
    )
    assert done.returncode == 0, done.stderr
    assert (hostile / "out" / "manifest.json").is_file()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_segmenter_imports_its_own_neighbor(workers: str, installed: Installed, tmp_path: Path):
    (tmp_path / "plain.py").write_text(_SEGMENTER, encoding="utf-8")
    (tmp_path / "transforms.py").write_text(_NEIGHBOR, encoding="utf-8")
    flags = ("--segmenter", "plain:Thresh", "--workers", workers, "--out", "out")
    done = installed.run("hlmat", "trajectories", *_SHAPES, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_training_is_planned_without_llama_factory(installed: Installed, hostile: Path):
    done = installed.run("hlmat", "train", "--recipe", "mini_smoke", "--dry-run", cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("dry run: nothing was made\n")
    assert not (hostile / "out").exists()


def test_the_installed_command_knows_every_recipe(installed: Installed, hostile: Path):
    done = installed.run("hlmat", "train", "--recipe", "mini_smok", "--out", "out", cwd=hostile)
    recipes = {
        name.split("/")[1]
        for name in _tracked("train_recipes")
        if name.endswith(("/train.yaml", "/rl.yaml"))
    }
    assert done.returncode == 2, done.stderr
    listed = done.stderr.partition("choose from ")[2].partition(", or give")[0].split(", ")
    assert "did you mean 'mini_smoke'?" in done.stderr
    assert set(listed) == recipes
