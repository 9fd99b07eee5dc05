"""An evaluation on images of the training data, under whatever names they are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.pipelines.cli.main import main


def write_split(folder: Path, seeds: dict[str, int], *, turns: int = 0) -> None:
    """Write a COCO file next to its images; equal seeds make equal images."""
    folder.mkdir()
    images, annotations = [], []
    for number, (name, seed) in enumerate(seeds.items()):
        pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
        PilImage.fromarray(np.rot90(pixels, turns)).save(folder / name)
        height, width = np.rot90(pixels, turns).shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        square = [[8, 8, 16, 8, 16, 16, 8, 16]]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1, "segmentation": square}
        )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def command(name: str, root: Path, *more: str) -> list[str]:
    return [
        *(name, "--dataset", "coco", "--data-root", str(root), "--workers", "1"),
        *("--max-clicks", "1", "-q", *more),
    ]


def test_images_are_compared_by_their_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_split(tmp_path / "train", {"a.png": 1, "b.png": 2})
    write_split(tmp_path / "valid", {"a.png": 3, "b.png": 4})
    write_split(tmp_path / "test", {"c.png": 5, "d.bmp": 2}, turns=1)
    run = tmp_path / "run"
    assert main(command("trajectories", tmp_path / "train", "--out", str(run))) == EXIT_OK
    evaluate = ["--policy", "oracle", "--trained-on", str(run)]
    out = ["--out", str(tmp_path / "valid-out")]
    assert main(command("evaluate", tmp_path / "valid", *evaluate, *out)) == EXIT_OK
    out = ["--out", str(tmp_path / "test-out")]
    capsys.readouterr()
    assert main(command("evaluate", tmp_path / "test", *evaluate, *out)) == 2
    message = capsys.readouterr().err
    assert "leak guard: 1 of the 2 images to be evaluated on" in message
    assert "coco-file:d (there coco-file:b)" in message
    assert not (tmp_path / "test-out").exists()
