"""The whole job with SAM ViT-B at its real size, its weights random."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hlmat.pipelines.cli.main import main
from hlmat.transforms.torch_support.torchvision import ensure_importable


@pytest.mark.slow
def test_sam_from_a_checkpoint_of_the_official_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    torch = pytest.importorskip("torch")
    ensure_importable()
    segment_anything = pytest.importorskip("segment_anything")
    checkpoint = tmp_path / "sam_vit_b_random.pth"
    torch.manual_seed(0)
    torch.save(segment_anything.sam_model_registry["vit_b"]().state_dict(), checkpoint)

    out = tmp_path / "out"
    flags = ["--dataset", "shapes", "--shapes-images", "1", "--shapes-size", "64x80"]
    flags += ["--segmenter", "sam", "--checkpoint", str(checkpoint), "--device", "cpu"]
    flags += ["--max-clicks", "2", "--no-stop-on-no-gain", "--out", str(out), "--json"]
    assert main(["trajectories", *flags]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["trajectories"] == figures["targets"] >= 1

    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for row in pq.read_table(out / "trajectories").to_pylist():
        assert row["weights_sha256"] == sha256
        assert row["segmenter"] == "sam"
        assert all(isinstance(step["score"], float) for step in row["steps"])
        assert row["num_clicks"] == 2 or row["stop_reason"] == "no_error_left"
