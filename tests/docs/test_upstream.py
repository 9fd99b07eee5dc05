"""The scripts of the reports to other projects still show the faults that they describe."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repository import REPOSITORY

UPSTREAM = REPOSITORY / "docs" / "upstream"
NEEDS = {"sam_hq_decoder": "transformers", "dask_runner_rows": "distributed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_a_script_finds_its_fault(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    found = subprocess.run(
        [sys.executable, "-W", "ignore", str(UPSTREAM / f"{name}.py")],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # 0 says that the fault is gone: then the report, and what works around it, can go too.
    assert found.returncode == 1, found.stdout + found.stderr[-2000:]
    assert "False" in found.stdout if name == "sam_hq_decoder" else "[]" in found.stdout


@pytest.mark.parametrize("name", NEEDS)
def test_a_report_is_two_paragraphs_and_a_script(name: str) -> None:
    text = (UPSTREAM / f"{name}.md").read_text(encoding="utf-8")
    assert f"({name}.py)" in text
    assert [line.split("**")[1] for line in text.splitlines() if line.startswith("**")] == [
        "What happens.",
        "What is expected.",
    ]


def test_every_report_is_tested() -> None:
    assert {path.stem for path in UPSTREAM.iterdir()} == set(NEEDS)
