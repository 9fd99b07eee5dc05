"""Coordinates in pixels against the sizes to which LLaMA-Factory reduces images."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training.job import read_job
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.options import TRAINER_PIXELS

TRAIN = {
    "model_name_or_path": "a/b",
    "template": "qwen2_vl",
    "stage": "sft",
    "finetuning_type": "full",
}


def write_recipe(folder: Path, *, export: str, **train: int) -> Path:
    folder.mkdir()
    (folder / "trajectories.yaml").write_text("dataset: shapes\n")
    (folder / "export.yaml").write_text(export)
    (folder / "evaluate.yaml").write_text("dataset: shapes\n")
    (folder / "train.yaml").write_text(yaml.safe_dump({**TRAIN, **train}))
    return folder


def problems_of(recipe: Path, *flags: str) -> tuple[str, ...]:
    argv = [f"--recipe={recipe}", *flags]
    try:
        read_job(parse_command("train", argv))
    except ConfigError as error:
        return tuple(error.problems)
    return ()


@pytest.mark.parametrize(
    ("export", "limit", "size"),
    [
        ("codec: pixels\n", 200_704, "up to 768 x 768 (589824 pixels)"),
        ("codec: pixels\nmax-side: 500\n", 200_704, "up to 500 x 500 (250000 pixels)"),
        ("codec: pixels\nmax-pixels: 700000\n", TRAINER_PIXELS, "up to 836 x 836 (700000 pixels)"),
    ],
)
def test_written_pixels_that_the_trainer_would_move_are_refused(
    export: str, limit: int, size: str, tmp_path: Path
) -> None:
    settings = {} if limit == TRAINER_PIXELS else {"image_max_pixels": limit}
    recipe = write_recipe(tmp_path / "mine", export=export, **settings)
    side = int(limit**0.5)
    assert problems_of(recipe) == (
        f"{recipe}: codec pixels writes coordinates of images of {size}, but with image_max_pixels "
        f"{limit} LLaMA-Factory reduces them to {side} x {side}, and the model would learn "
        f"displaced points; set max-pixels: {limit} in export.yaml, or raise image_max_pixels",
    )


@pytest.mark.parametrize(
    "export", ["codec: pixels\n", "codec: pixels\nmax-pixels: 200704\n", "codec: decimal\n"]
)
def test_images_that_pass_unchanged_are_accepted(export: str, tmp_path: Path) -> None:
    limit = 200_704 if "200704" in export else TRAINER_PIXELS
    recipe = write_recipe(tmp_path / "mine", export=export, image_max_pixels=limit)
    assert problems_of(recipe) == ()


def test_the_command_line_s_limit_counts(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "mine", export="codec: pixels\n")
    assert problems_of(recipe) == ()
    (problem,) = problems_of(recipe, "--set=image_max_pixels=1000")
    assert problem.startswith(f"{recipe}: codec pixels writes coordinates of images of up to 768")


@pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)
def test_the_bound_is_llama_factory_s_own_default() -> None:
    code = (
        "from hlmat.pipelines.training.llamafactory_main import make_importable\n"
        "make_importable()\n"
        "from llamafactory.hparams.model_args import ProcessorArguments\n"
        "print(ProcessorArguments().image_max_pixels)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) == TRAINER_PIXELS
