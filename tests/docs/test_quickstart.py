"""The quickstart's blocks run one after another, as pasted, and print what their comments say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repository import REPOSITORY

BLOCKS = re.findall(
    r"^```(python|sh)\n(.*?)^```$",
    (REPOSITORY / "docs" / "quickstart.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.slow
def test_every_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    # The environment's commands, as after `source .venv/bin/activate`.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names: dict[str, object] = {"__name__": "quickstart"}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "quickstart.md", "exec"), names)
            printed = capsys.readouterr().out
            assert printed.splitlines() == re.findall(r"^# (.*)$", text, re.MULTILINE)
        else:
            subprocess.run(
                ["sh", "-euc", text], check=True, env={**os.environ, "PATH": path}, timeout=600
            )
    assert (tmp_path / "strip.png").is_file()
    assert (tmp_path / "mine.png").is_file()
    assert (tmp_path / "out/sft/dataset_info.json").is_file()


def test_it_has_blocks_of_both_kinds():
    assert [language for language, _ in BLOCKS].count("python") >= 6
    assert [language for language, _ in BLOCKS].count("sh") >= 1
