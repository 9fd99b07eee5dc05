"""Which versions `make test-pins` takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from pins import allowed, bounds

PROJECT = """
[project]
dependencies = ["numpy>=1.26", "apache-beam>=2.77,<3"]
[project.optional-dependencies]
hf = ["torch>=2.6", "transformers>=5.2,<6"]
train = ["transformers>=5.0,!=5.4.0,<=5.6.0", "apache-beam[gcp]>=2.78"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "pyproject.toml"
    path.write_text(PROJECT)
    return path


def test_a_version_must_fit_every_requirement(project: Path) -> None:
    assert allowed("transformers", project=project) == ">=5.2,<6,>=5.0,!=5.4.0,<=5.6.0"
    assert allowed("apache-beam", project=project) == ">=2.77,<3,>=2.78"
    with pytest.raises(SystemExit, match=r"PIN=pandas: pyproject\.toml does not require it"):
        allowed("pandas", project=project)


def test_the_lowest_and_the_highest_are_published_ones(project: Path) -> None:
    published = ["5.10.0", "5.6.1", "5.6.0", "5.3.0", "5.2.0rc1", "5.2.1", "5.1.0"]
    found = bounds(allowed("transformers", project=project), published)
    assert found == (Version("5.2.1"), Version("5.6.0"))
    with pytest.raises(SystemExit, match="no published version fits"):
        bounds(allowed("transformers", project=project), ["4.57.0"])


def test_the_project_has_one_range_for_transformers() -> None:
    assert allowed("transformers") == ">=5.2,<=5.6.0"
