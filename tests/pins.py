"""Run the tests of a dependency with the lowest and the highest version that the project allows.

    make test-pins                     # transformers
    make test-pins PIN=peft ARGS=tests/transforms/policies/backends/checkpoint

Each version gets an environment in `build/pins/`, in which it and what it needs stand before the
packages of `.venv`; the rest is shared. A version that is installed there already is kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]
PINS = REPOSITORY / "build" / "pins"
TESTS = {
    "transformers": (
        "tests/docs/test_upstream.py",
        "tests/export/llama_factory",
        "tests/pipelines/training",
        "tests/train_recipes",
        "tests/transforms/policies/backends/checkpoint",
        "tests/transforms/prompting/test_families.py",
        "tests/transforms/segmenters/hf",
        "tests/transforms/tiny_vlm",
        "tests/transforms/torch_support",
    )
}
"""Tests of a dependency; those of another are given on the command line."""


def allowed(package: str, *, project: Path = REPOSITORY / "pyproject.toml") -> SpecifierSet:
    """Return the versions of a package that every requirement of the project allows.

    Raises:
        SystemExit: the project does not require it.
    """
    content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lists = [content["dependencies"], *content.get("optional-dependencies", {}).values()]
    required = [Requirement(line) for lines in lists for line in lines]
    found = [each.specifier for each in required if each.name == package]
    if not found:
        raise SystemExit(f"PIN={package}: pyproject.toml does not require it; name a dependency")
    joined = SpecifierSet()
    for specifier in found:
        joined &= specifier
    return joined


def bounds(specifier: SpecifierSet, published: list[str]) -> tuple[Version, Version]:
    """Return the lowest and the highest published version that is allowed.

    Raises:
        SystemExit: none is.
    """
    versions = sorted(specifier.filter(map(Version, published)))
    if not versions:
        raise SystemExit(f"no published version fits {specifier}; look at pyproject.toml")
    return versions[0], versions[-1]


def published_versions(package: str) -> list[str]:
    """Ask the package index which versions there are."""
    command = [sys.executable, "-m", "pip", "index", "versions", package, "--json"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True)
    if listed.returncode == 0:
        return json.loads(listed.stdout)["versions"]
    # Before pip 25.2 the answer is for people alone.
    listed = subprocess.run(command[:-1], check=True, capture_output=True, text=True)
    line = re.search(r"^Available versions: (.*)$", listed.stdout, re.MULTILINE)
    return line[1].split(", ") if line else []


def environment(package: str, version: Version) -> Path:
    """Make the environment of a version; return its Python."""
    folder = PINS / f"{package}-{version}"
    python = folder / "bin" / "python"
    if (folder / ".done").exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    shared = sysconfig.get_path("purelib")
    (own / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n", encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{package}=={version}"], check=True)
    (folder / ".done").touch()
    return python


def main(package: str, tests: list[str]) -> int:
    """Run the tests with both versions; return 1 if a run fails."""
    tests = tests or list(TESTS.get(package, ()))
    if not tests:
        raise SystemExit(f"PIN={package}: name the tests to run, as ARGS=tests/transforms")
    failed = False
    # A checkout's own code goes before that of the environment that is shared.
    here = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    for version in dict.fromkeys(bounds(allowed(package), published_versions(package))):
        sys.stdout.write(f"{package} {version}\n")
        sys.stdout.flush()
        python = environment(package, version)
        command = [python, "-m", "pytest", "-q", "-m", "slow or not slow", *tests]
        failed |= subprocess.run(command, check=False, cwd=REPOSITORY, env=here).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
