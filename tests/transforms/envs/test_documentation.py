"""The code blocks of docs/reinforcement_learning.md run."""

from __future__ import annotations

import ast
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import builders
from hlmat.transforms.core.records import Reject
from hlmat.transforms.dataset_io.arrow import table_to_parquet_bytes, trajectory_table
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.readers.shapes.reader import ShapesReader
from hlmat.transforms.rollout.loop import Episode, Limits, roll_out
from hlmat.transforms.segmenters.disc import DiscSegmenter
from repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "reinforcement_learning.md"


def block_with(words: str) -> str:
    """Return the only Python block that contains `words`."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if words in block]
    return found


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder whose out/shapes holds the trajectories of two targets."""
    reader = ShapesReader()
    trajectories = []
    for ref in islice(reader.read_targets(), 2):
        assert not isinstance(ref, Reject)
        truth = reader.load_truth(ref).truth
        size_hw = (truth.shape[0], truth.shape[1])
        trajectories.append(
            roll_out(
                Episode(builders.target(truth, ref), truth),
                image=reader.load_image(ref.image_path, size_hw=size_hw),
                segmenter=DiscSegmenter(),
                policy=OraclePolicy(),
                limits=Limits(max_clicks=2, stop_on_no_gain=False, target_iou=None),
                provenance=builders.provenance("disc"),
            )
        )
    folder = tmp_path / "out" / "shapes" / "trajectories"
    folder.mkdir(parents=True)
    data = table_to_parquet_bytes(trajectory_table(trajectories))
    (folder / "trajectories-00000-of-00001.parquet").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_is_made_and_steps():
    pytest.importorskip("gymnasium", reason="the extra rl is not installed")
    names: dict[str, Any] = {}
    exec(block_with("gymnasium.make("), names)
    assert names["info"]["clicks"] == 1
    assert names["gain"] == names["info"]["iou"]


def test_rows_of_a_run_are_scored_as_verl_does(run_folder: Path):
    names: dict[str, Any] = {}
    exec(block_with("def read_rows"), names)
    exec(block_with("verl_rows ="), names)
    exec(block_with("compute_score ="), names)
    rows = names["verl_rows"]
    assert len(rows) == 4
    assert all(row["images"][0]["bytes"].startswith(b"\x89PNG") for row in rows)
    answers = ["Positive point: (0.500, 0.500)", "Finish", "Hm.", "Finish"]
    scores = [
        names["compute_score"](
            data_source=row["data_source"],
            solution_str=answer,
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
        )
        for row, answer in zip(rows, answers, strict=True)
    ]
    assert scores[1:] == [0.0, -1.0, 0.0]
    assert -1 <= scores[0] <= 1


def test_the_imports_of_the_trl_example_exist():
    tree = ast.parse(block_with("GRPOTrainer("), str(DOCUMENT))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("hlmat.")]
    assert "hlmat.transforms.envs.rewards" in [node.module for node in ours]
    exec(compile(ast.Module([*ours], []), str(DOCUMENT), "exec"), {})
