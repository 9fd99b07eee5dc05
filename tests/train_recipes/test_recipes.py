from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

from hlmat.pipelines.cli.main import EXIT_OK, main
from hlmat.pipelines.exporting.export import export_run
from hlmat.pipelines.recipes.base_model import with_processor
from hlmat.pipelines.recipes.flag_files import parse_flags
from hlmat.pipelines.recipes.recipe import RECIPES, load_recipe, recipe_names
from hlmat.pipelines.run.trajectories import make_trajectories
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.export_options import EXPORT
from hlmat.pipelines.settings.prompt_options import read_conversation
from hlmat.pipelines.settings.run_options import trajectories_config
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.pipelines.training.job import TrainingJob, read_job
from hlmat.transforms.prompting.rendering import reduced_size
from hlmat.transforms.prompting.resizes import RESIZES
from llama_factory_scripts import printed_by
from tiny_models import Family, make_tiny_model

REPOSITORY = RECIPES.parent
FAMILIES: Mapping[str, Family] = {
    "qwen2_vl": "qwen2_5_vl",
    "qwen3_vl_nothink": "qwen3_vl",
    "qwen3_5_nothink": "qwen3_5",
    "intern_vl": "internvl",
    "glm4_5v": "glm4v_moe",
    "llava": "llava",
}
# The published models' own bounds, by both of their names; those of the tiny models are far lower.
PIXEL_BOUNDS = {
    family: {
        "size": {"shortest_edge": least, "longest_edge": most},
        "min_pixels": least,
        "max_pixels": most,
    }
    for family, least, most in (
        ("qwen2_5_vl", 56 * 56, 28 * 28 * 16384),
        ("qwen3_vl", 256 * 256, 4096 * 4096),
        ("qwen3_5", 256 * 256, 4096 * 4096),
        ("glm4v_moe", 112 * 112, 28 * 28 * 15000),
    )
}
HEIGHT, WIDTH = 427, 640
SIZES_WH = [(640, 427), (427, 640), (500, 375), (333, 500), (2048, 1365), (448, 448), (61, 47)]

every_recipe = pytest.mark.parametrize("name", recipe_names())


def parse(*argv: str) -> argparse.Namespace:
    return parse_command("train", argv)


def test_every_folder_with_settings_is_a_recipe() -> None:
    found = sorted(path.parent.name for path in RECIPES.rglob("train.yaml"))
    assert found == recipe_names()
    assert {"mini", "qwen2_5_vl_7b_full"} <= set(found)


@every_recipe
def test_a_recipe_documents_its_commands(name: str) -> None:
    folder = RECIPES / name
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"hlmat train --recipe {name}" in readme
    assert "hlmat evaluate --recipe" in readme
    assert f"hlmat train --recipe {name}" in (folder / "train.yaml").read_text(encoding="utf-8")
    assert f"[{name}]({name}/README.md)" in (RECIPES / "README.md").read_text(encoding="utf-8")


@every_recipe
def test_a_trained_model_is_evaluated_where_training_leaves_it(name: str) -> None:
    evaluate = parse_flags("evaluate.yaml", load_recipe(name).evaluate)
    job = read_job(parse("--recipe", name, "--data-root", "."))
    assert Path(evaluate.model).absolute() == job.folder.model
    assert evaluate.dataset == job.trajectories.dataset
    assert evaluate.split != job.trajectories.split


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("qwen2_5_vl_7b_full", 128 // 8),  # on 8 GPUs, as in the paper
        ("llava_1_5_7b_full", 16 // 8),  # the same
        ("qwen2_5_vl_7b_lora", 128),  # on one
        ("qwen3_vl_8b_lora", 128),
        ("qwen3_5_9b_lora", 128),
        ("internvl3_5_8b_lora", 128),
        ("glm4_5v_lora", 128 // 8),  # on 8 GPUs
        ("qwen2_5_vl_7b_lora_24gb", 128),
    ],
)
def test_the_batch_of_a_gpu_makes_up_the_papers(name: str, batch: int) -> None:
    settings = load_recipe(name).train
    per_step = settings["per_device_train_batch_size"]
    assert per_step * settings["gradient_accumulation_steps"] == batch


@every_recipe
def test_deepspeed_settings_are_in_json(name: str) -> None:
    path = load_recipe(name).train.get("deepspeed")
    if path is None:
        assert not name.endswith("7b_full")
        return
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    assert config["zero_optimization"]["stage"] == int(Path(path).stem.removeprefix("zero"))
    # left to the trainer, which knows them from the YAML
    assert config["train_micro_batch_size_per_gpu"] == "auto"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingJob]:
    """A job for each recipe whose data set is exported with the recipe's own flags."""
    root = tmp_path_factory.mktemp("recipes")
    flags = ["--dataset=shapes", "--shapes-images=2", f"--shapes-size={HEIGHT}x{WIDTH}"]
    flags += ["--limit=3", "--max-clicks=2", "--workers=1", f"--out={root / 'run'}"]
    config = trajectories_config(parse_flags("trajectories.yaml", flags))
    make_trajectories(config, quiet=True)
    jobs = {}
    for name in recipe_names():
        job = read_job(parse("--recipe", name, "--data-root", ".", "--out", str(root / name)))
        export = argparse.Namespace(**vars(job.export))
        export.run_folder, export.format = str(root / "run"), "llama-factory"
        export.out, export.data_root = str(job.folder.data), None
        export_run(export)
        jobs[name] = job
    return jobs


@pytest.fixture(scope="module")
def findings(
    jobs: dict[str, TrainingJob], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What LLaMA-Factory reads from each recipe."""
    if importlib.util.find_spec("llamafactory") is None:
        pytest.skip("llamafactory is not installed")
    root = tmp_path_factory.mktemp("check")
    models: dict[Family, Path] = {}
    described = []
    for name, job in jobs.items():
        family = FAMILIES[job.settings["template"]]
        if family not in models:
            tiny = Path(make_tiny_model(family, root / family))
            bounds = PIXEL_BOUNDS.get(family)
            models[family] = (
                with_processor(tiny, bounds, folder=root / f"{family}-bounds") if bounds else tiny
            )
        model = models[family]
        recipe = job.recipe
        if recipe.processor or recipe.chat_template:
            model = with_processor(
                model,
                recipe.processor,
                folder=root / f"{name}-model",
                chat_template=recipe.chat_template,
            )
        settings = on_this_machine(job.resolved(model=model))
        described.append({"name": name, "settings": settings, "sizes": sizes_written(job)})
    path = root / "jobs.json"
    path.write_text(json.dumps(described))
    script = Path(__file__).parent / "check_with_llama_factory.py"
    checked = printed_by(script, str(path), cache=root)
    return {each["name"]: each for each in checked}


def on_this_machine(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a machine without GPUs cannot have, and nothing else."""
    # bf16 counts as supported where the CPU is asked for.
    settings = {**settings, "use_cpu": True, "dataloader_num_workers": 0}
    # It wants to be started once for each GPU.
    settings.pop("deepspeed", None)
    # More processes than cores only cost time.
    settings["preprocessing_num_workers"] = 1
    return settings


def sizes_written(job: TrainingJob) -> list[tuple[int, int]]:
    """Return (width, height) of the images that an export writes for images of `SIZES_WH`."""
    max_side = int(job.export.max_side) if job.export.max_side else None
    sizes = [reduced_size((h, w), max_side=max_side) for w, h in SIZES_WH]
    return [(w, h) for h, w in sizes]


@every_recipe
@pytest.mark.slow
def test_llama_factory_understands_every_setting(
    name: str, jobs: dict[str, TrainingJob], findings: dict[str, dict[str, Any]]
) -> None:
    parsed = findings[name]["parsed"]
    settings = on_this_machine(jobs[name].settings)
    settings.pop("model_name_or_path")
    # How it says that there are none.
    assert (settings.pop("report_to"), parsed["report_to"]) == ("none", [])
    assert {key: parsed[key] for key in settings} == settings


@every_recipe
@pytest.mark.slow
def test_llama_factory_reads_the_rows_and_their_answers(
    name: str, jobs: dict[str, TrainingJob], findings: dict[str, dict[str, Any]]
) -> None:
    job, found = jobs[name], findings[name]
    written = json.loads((job.folder.data / f"{job.data_name}.json").read_text())
    assert len(found["rows"]) == len(written) > 2
    for row, source in zip(found["rows"], written, strict=True):
        question, answer = (message["content"] for message in source["messages"])
        text = row["answer"].strip()
        assert text.removesuffix(found["eos"]) == answer
        assert text.endswith(found["eos"])  # the model learns where an answer ends
        before, after = question.split("<image>")
        assert before in row["question"]
        assert after in row["question"]


@every_recipe
@pytest.mark.slow
def test_an_image_has_as_many_tokens_as_the_vision_tower_gives(
    name: str, findings: dict[str, dict[str, Any]]
) -> None:
    cutoff = load_recipe(name).train["cutoff_len"]
    for row in findings[name]["rows"]:
        if name.startswith("internvl"):
            # 3 x 2 tiles and an overview; the tiny model's tiles are small.
            assert row["pixel_values"] == [7, 3, 56, 56]
            assert row["image_tokens"] == 7 * 4
        elif row["grid"] is None:
            assert row["pixel_values"] == [1, 3, 336, 336]
            assert row["image_tokens"] == 24 * 24
        else:
            assert row["image_tokens"] == np.prod(row["grid"]) // 4
            assert row["pixel_values"][0] == np.prod(row["grid"])
        assert row["image_tokens"] <= cutoff / 2  # leaves room for the text


@pytest.mark.parametrize(
    "name",
    [n for n in recipe_names() if (RECIPES / n / "chat_template.jinja").is_file()],
)
@pytest.mark.slow
def test_a_model_is_asked_as_it_was_trained(name: str, findings: dict[str, dict[str, Any]]) -> None:
    for row in findings[name]["rows"]:
        assert row["asked_prompt"] == row["trained_prompt"]


@pytest.mark.slow
@every_recipe
def test_pixels_in_answers_are_those_that_the_model_sees(
    name: str, jobs: dict[str, TrainingJob], findings: dict[str, dict[str, Any]]
) -> None:
    job = jobs[name]
    check = Check()
    conversation = read_conversation(Values(job.export, EXPORT, check), check)
    if conversation.turn_format.codec.name != "pixels":
        assert job.export.processor is None
        return
    assert job.export.processor in RESIZES
    codec = conversation.view.seen_through(conversation.turn_format.codec)
    expected = [list(codec.resize((h, w))) for w, h in SIZES_WH]
    assert findings[name]["seen"] == expected
    # and so in the rows themselves: the grid is in patches of 14 pixels
    grids = [row["grid"] for row in findings[name]["rows"]]
    height, width = codec.resize((HEIGHT, WIDTH))
    assert grids == [[1, height // 14, width // 14]] * len(grids)


@every_recipe
def test_no_image_is_larger_than_llama_factory_lets_through(
    name: str, jobs: dict[str, TrainingJob]
) -> None:
    # A second resize moves pixels; fractions of the image stay what they are.
    job = jobs[name]
    if job.export.codec == "pixels":
        assert int(job.export.max_side) ** 2 <= job.settings["image_max_pixels"]


def test_llava_sees_the_whole_image(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["llava_1_5_7b_full"]["edges"] == [True, True]


def test_the_published_llava_processor_would_not(tmp_path: Path) -> None:
    # what processor.yaml is for
    changes = load_recipe("llava_1_5_7b_full").processor
    model = Path(make_tiny_model(cast("Family", "llava"), tmp_path / "llava"))
    before = json.loads((model / "processor_config.json").read_text())["image_processor"]
    assert before["do_center_crop"] is True
    assert changes["do_center_crop"] is False


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)
def test_the_base_for_a_gpu_is_built_and_trained_on_a_cpu_too(tmp_path: Path) -> None:
    folder = tmp_path / "mini_prm_large"
    shutil.copytree(RECIPES / "mini_prm_large", folder)
    fewer = {"steps": 2, "tower-steps": 1, "batch": 2, "shapes-images": 4}
    for name, changes in (("base", fewer), ("trajectories", {"shapes-images": 2})):
        settings = yaml.safe_load((folder / f"{name}.yaml").read_text()) | changes
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    sets = ["max_steps=1", "per_device_train_batch_size=2", "logging_steps=1"]
    sets += ["preprocessing_num_workers=1", "dataloader_num_workers=0"]
    flags = ["--recipe", str(folder), "--out", str(tmp_path / "out"), "--model-device", "cpu", "-q"]
    assert main(["train", *flags, *(f"--set={each}" for each in sets)]) == EXIT_OK
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text())
    assert (config["text_config"]["hidden_size"], config["vision_config"]["depth"]) == (384, 10)
    written = yaml.safe_load((tmp_path / "out" / "train.yaml").read_text())
    assert (written["max_steps"], written["use_cpu"]) == (1, True)
