"""The files of an export for LLaMA-Factory, of every task: those of earlier versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import pytest

from hlmat.export.llama_factory.tasks.registry import TASKS
from hlmat.pipelines.cli.main import main

GOLDEN = Path(__file__).with_name("golden.json")
"""Digests of what version 0.1 wrote, one target after the other in one process."""

RUN = (
    *("trajectories", "--dataset", "shapes", "--shapes-images", "5", "--shapes-size", "64x80"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--max-clicks", "3"),
    *("--unit-size", "4", "--workers", "1", "-q"),
)
MORE = {
    "next-click": ("--first-box", "--finish"),
    "kto": ("--expressions", "shuffled"),
    "multi-turn": ("--expressions", "first", "--score"),
}
"""Flags of the exports of some tasks."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs over the same targets by policy."""
    root = tmp_path_factory.mktemp("runs")
    for policy in ("oracle", "uniform", "random"):
        flags = ("--policy", policy, "--no-stop-on-no-gain", "--out", str(root / policy))
        assert main([*RUN, *flags]) == 0
    return {path.name: path for path in root.iterdir()}


def flags_of(task: str, runs: dict[str, Path]) -> tuple[str, ...]:
    """Return the flags of a task's export, all but --out."""
    also = {"preference": "uniform", "star-plus": "random"}.get(task)
    more = MORE.get(task, ()) if also is None else ("--also", str(runs[also]))
    first = runs["random" if task == "kto" else "oracle"]
    flags = ("--format", "llama-factory", "--task", task, "--image-format", "png")
    return ("export", "--from", str(first), *flags, *more)


def digests_of(folder: Path) -> dict[str, str]:
    """Return a digest of each kind of file: bytes, but for images their pixels by name."""
    found = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    images = hashlib.sha256()
    for path in sorted(folder.rglob("*.png")):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        images.update(path.relative_to(folder).as_posix().encode() + pixels.tobytes())
    record = json.loads(found.pop("export.json"))
    shown = json.dumps({name: record[name] for name in ("frame", "images", "digests")})
    return {
        **{name: hashlib.sha256(data).hexdigest() for name, data in sorted(found.items())},
        "export.json": hashlib.sha256(shown.encode()).hexdigest(),
        "images": images.hexdigest(),
    }


@pytest.mark.parametrize("task", [*TASKS, "next-click,prm"])
def test_an_export_is_that_of_earlier_versions(
    task: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main([*flags_of(task, runs), "--out", str(out), "-q"]) == 0
    assert digests_of(out) == json.loads(GOLDEN.read_text())[task]
