"""The code in docs/segmenters.md and docs/formats.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pandas
import pytest

from documented_commands import documented_commands
from hlmat.pipelines.cli.main import main
from repository import REPOSITORY


def block(document: str, language: str) -> str:
    """Return the only block of a language in a document."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    [found] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.slow
def test_the_segmenter_and_the_queries_of_the_documents_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_tools.py").write_text(block("docs/segmenters.md", "python"))
    [command] = [c for c in documented_commands() if "my_tools:MySegmenter" in c.argv]
    assert main([*command.argv[1:], "--limit", "12", "--workers", "1", "-q"]) == 0
    table = pandas.read_parquet("out/mine/trajectories")
    assert len(table) == 12
    assert set(table["segmenter"]) == {"my_tools:MySegmenter"}
    assert float(np.mean(table["final_iou"])) > 0.5

    monkeypatch.chdir(tmp_path / "out")
    query = block("docs/formats.md", "sql").replace("out/shapes", "mine")
    clicks = duckdb.execute(query).fetchall()
    assert len(clicks) == table["num_clicks"].sum()
    formats = (REPOSITORY / "docs/formats.md").read_text(encoding="utf-8")
    counts = re.search(r'duckdb.sql\("(.*)"\)', formats)
    assert counts is not None
    reasons = duckdb.execute(counts[1].replace("out/shapes", "mine")).fetchall()
    assert sum(count for _, count in reasons) == 12
