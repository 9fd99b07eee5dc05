from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlmat.pipelines.recipes.base_model import find_base_model, with_processor
from hlmat.transforms.core.errors import ConfigError, OutputError
from tiny_models import make_tiny_model


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_tiny_model("llava", tmp_path_factory.mktemp("models") / "llava"))


def test_a_given_folder_wins(llava: Path) -> None:
    files = find_base_model("somebody/other", given=str(llava))
    assert (files.model, files.model_type) == (llava, "llava")


def test_a_hub_id_is_looked_for_below_models(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "some-model").symlink_to(llava)
    files = find_base_model("somebody/some-model", given=None)
    assert files.model == tmp_path / "models" / "some-model"


def test_a_given_name_that_is_nowhere_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_base_model("somebody/some-model", given=str(tmp_path / "none"))
    assert f"the base model {tmp_path}/none, which --model names, is not here" in str(caught.value)
    assert "name the folder of a checkpoint with --model" in str(caught.value)
    assert "hf download" not in str(caught.value)


def test_a_damaged_model_is_reported_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json"):
        find_base_model("somebody/some-model", given=str(tmp_path))


def test_a_lora_adapter_is_no_base_model(llava: Path, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": str(llava)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError):
        find_base_model("somebody/some-model", given=str(tmp_path))


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_changed_processor_leaves_the_model_as_it_was(
    is_plain: bool, llava: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in llava.iterdir():
        (model / path.name).symlink_to(path)
    name = "processor_config.json"
    if is_plain:  # as models of years past are published
        settings = json.loads((model / name).read_text())["image_processor"]
        (model / name).unlink()
        name = "preprocessor_config.json"
        (model / name).write_text(json.dumps(settings))
    before = (model / name).read_bytes()
    with_processor(model, {"do_resize": False}, folder=tmp_path / "out")
    out = with_processor(model, {"do_center_crop": False}, folder=tmp_path / "out")
    assert (model / name).read_bytes() == before
    content = json.loads((out / name).read_text())
    changed = content if is_plain else content["image_processor"]
    assert changed["do_center_crop"] is False
    assert changed["do_resize"] is True
    assert {p.name for p in out.iterdir()} == {p.name for p in model.iterdir()}
    assert (out / "model.safetensors").resolve() == (llava / "model.safetensors").resolve()


def test_a_model_without_images_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no settings of an image processor"):
        with_processor(tmp_path, {}, folder=tmp_path / "out")
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        with_processor(tmp_path, {}, folder=tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_reported(llava: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give an --out that can be written to"):
        with_processor(llava, {}, folder=tmp_path / "file" / "out")


def test_a_recipe_s_chat_template_takes_the_place_of_the_model_s(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "preprocessor_config.json").write_text('{"do_resize": true}')
    (model / "chat_template.json").write_text("{}")
    (model / "chat_template.jinja").write_text("published")
    out = with_processor(model, {}, folder=tmp_path / "out", chat_template="of the recipe")
    assert (out / "chat_template.jinja").read_text() == "of the recipe"
    assert not (out / "chat_template.json").exists()
    assert (model / "chat_template.jinja").read_text() == "published"
    kept = with_processor(model, {}, folder=tmp_path / "kept")
    assert (kept / "chat_template.jinja").read_text() == "published"
