"""The whole job with each tool that has weights, and with images that no tool should see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image as PillowImage

from hlmat.pipelines.cli.main import main
from hlmat.transforms.torch_support.torchvision import ensure_importable

pytest.importorskip("torch")
ensure_importable()
simpleclick_models = pytest.importorskip("simpleclick_models")
tiny_sam_models = pytest.importorskip("tiny_sam_models")

SCENES = ["--dataset", "shapes", "--shapes-images", "3", "--shapes-size", "64x80"]


def simpleclick_checkpoint(folder: Path) -> Path:
    network = simpleclick_models.random_network()
    path = folder / "simpleclick.pth"
    path.write_bytes(simpleclick_models.saved(simpleclick_models.entry_of(network)))
    return path


def sam2_folder(folder: Path) -> Path:
    return tiny_sam_models.save(tiny_sam_models.tiny_model("sam2"), folder / "sam2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"), [("simpleclick", simpleclick_checkpoint), ("hf", sam2_folder)]
)
def test_the_job_runs_with_any_tool_and_gives_the_same_bytes_again(
    name: str, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = make(tmp_path)
    files = []
    for run, flag in (("a", "--checkpoint"), ("b", "--model")):
        out = tmp_path / run
        arguments = [*SCENES, "--segmenter", name, flag, str(checkpoint), "--device", "cpu"]
        assert main(["trajectories", *arguments, "--out", str(out), "--unit-size", "2"]) == 0
        files.append(next((out / "trajectories").glob("*.parquet")).read_bytes())
        assert (out / "rejects").is_dir()
    assert files[0] == files[1]
    table = pq.read_table(tmp_path / "a" / "trajectories")
    assert table.num_rows > 3
    assert set(table["segmenter"].to_pylist()) == {name}
    assert "" not in table["weights_sha256"].to_pylist()


def write_folder(root: Path, images: dict[str, tuple[int, int]]) -> None:
    """Write images with masks of their left half, (height, width) by name."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name, (height, width) in images.items():
        PillowImage.new("1", (width, height)).save(root / "images" / f"{name}.png")
        mask = PillowImage.new("1", (width, height))
        mask.paste(1, (0, 0, max(width // 2, 1), height))
        mask.save(root / "masks" / f"{name}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"),
    [("graphcut", None), ("simpleclick", simpleclick_checkpoint), ("hf", sam2_folder)],
)
def test_a_gigantic_image_is_rejected_and_a_pixel_is_an_image(
    name: str, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = tmp_path / "data"
    write_folder(root, {"dot": (1, 1), "huge": (20_000, 20_000), "plain": (40, 60)})
    arguments = ["--dataset", "folder", "--data-root", str(root), "--segmenter", name]
    if make is not None:
        arguments += ["--checkpoint", str(make(tmp_path)), "--device", "cpu"]
    out = tmp_path / "out"
    assert main(["trajectories", *arguments, "--out", str(out)]) == 0
    made = pq.read_table(out / "trajectories")["image_name"].to_pylist()
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert sorted(made) == ["dot.png", "plain.png"]
    assert [(r["image_name"], r["reason"]) for r in rejects] == [("huge.png", "too_large")]
    assert "more than the 120,000,000 pixels that are read" in rejects[0]["message"]
