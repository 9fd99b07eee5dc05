"""The script of a training with verl, and verl's own configuration."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from consumer_environments import read_by
from hlmat.pipelines.recipes.recipe import RECIPES

SCRIPT = RECIPES / "verl" / "qwen2_5_vl_7b_grpo.sh"


def overrides() -> list[str]:
    """Return what the script gives verl."""
    text = SCRIPT.read_text(encoding="utf-8")
    words = re.findall(r"^    (\S+=\S+) \\$", text, re.MULTILINE)
    return [word.replace("'", "") for word in words]


def test_the_script_is_one_command() -> None:
    subprocess.run(["sh", "-n", SCRIPT], check=True)
    command = SCRIPT.read_text(encoding="utf-8").split("exec")[1].splitlines()
    # Its first line names the program, its last one passes arguments on.
    assert len(overrides()) == len(command) - 2


@pytest.mark.slow
def test_verl_knows_every_setting(tmp_path: Path) -> None:
    found = read_by("verl", *overrides(), part="config", scratch=tmp_path / "verl")
    assert len(found) == len(overrides())
    assert found["actor_rollout_ref.rollout.n"] == 8
    assert found["trainer.logger"] == ["console"]
