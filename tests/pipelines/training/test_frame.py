"""Coordinates in pixels against the sizes to which LLaMA-Factory reduces images."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.pipelines.recipes.base_model import with_processor
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.training.frame import USUAL_SIZES_HW, check_seen_sizes, trainer_size
from hlmat.pipelines.training.job import read_job
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.options import TRAINER_PIXELS
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.resizes import RESIZES
from tiny_models import make_tiny_model

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
@pytest.mark.slow
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


ODD_SIZES_HW = ((480, 640), (2000, 1500), (10, 60), (20, 20), (27, 900), (31, 33))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)
def test_sizes_are_those_of_llama_factory_itself() -> None:
    code = (
        "import json\n"
        "from hlmat.pipelines.training.llamafactory_main import make_importable\n"
        "make_importable()\n"
        "from PIL import Image\n"
        "from llamafactory.data.mm_plugin import get_mm_plugin\n"
        "plugin = get_mm_plugin('qwen2_vl', image_token='<|image_pad|>')\n"
        f"images = [Image.new('RGB', (w, h)) for h, w in {ODD_SIZES_HW}]\n"
        "seen = [plugin._preprocess_image(i, image_max_pixels=200704, image_min_pixels=1024).size\n"
        "        for i in images]\n"
        "print(json.dumps([[h, w] for w, h in seen]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    settings = {"image_max_pixels": 200_704, "template": "qwen2_vl"}
    ours = [list(trainer_size(size_hw, settings)) for size_hw in ODD_SIZES_HW]
    assert json.loads(done.stdout.splitlines()[-1]) == ours


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("qwen")
    model = Path(make_tiny_model("qwen2_vl", root / "tiny"))
    bounds = {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 1280}
    size = {"shortest_edge": bounds["min_pixels"], "longest_edge": bounds["max_pixels"]}
    return with_processor(model, {**bounds, "size": size}, folder=root / "model")


def pixel_options(processor: str, *, max_side: int) -> LlamaFactoryOptions:
    codec = build_codec("pixels", resize=RESIZES[processor])
    return LlamaFactoryOptions(turn_format=TurnFormat(codec), view=StateView(max_side=max_side))


def test_the_sizes_of_the_model_s_own_processor_count(qwen: Path) -> None:
    settings = {"template": "qwen2_vl", "image_max_pixels": 200_704}
    fitting = pixel_options("qwen2-vl", max_side=448)
    check_seen_sizes(fitting, settings, model=qwen, sizes_hw=USUAL_SIZES_HW)
    with pytest.raises(ConfigError) as caught:
        check_seen_sizes(
            pixel_options("none", max_side=448), settings, model=qwen, sizes_hw=[(427, 640)]
        )
    (problem,) = caught.value.problems
    assert problem.startswith(
        "an image of 640 x 427 is written as 448 x 299 with coordinates in 448 x 299 pixels (codec "
        "pixels), but LLaMA-Factory and the processor in "
    )


def test_an_image_that_the_trainer_would_enlarge_is_found(qwen: Path) -> None:
    settings = {"template": "qwen2_vl", "image_max_pixels": 200_704}
    options = pixel_options("qwen2-vl", max_side=448)
    with pytest.raises(ConfigError, match=r"an image of 60 x 10 .* in 140 x 28 pixels .* 112 x 56"):
        check_seen_sizes(options, settings, model=qwen, sizes_hw=[(480, 640), (10, 60)])


def test_relative_codecs_need_no_processor(tmp_path: Path) -> None:
    check_seen_sizes(LlamaFactoryOptions(), {}, model=tmp_path, sizes_hw=USUAL_SIZES_HW)
