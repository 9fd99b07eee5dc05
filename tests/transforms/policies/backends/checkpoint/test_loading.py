"""Damaged and foreign checkpoints are refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoint_cases import (
    answers,
    cut_off_weights,
    edit_json,
    make_adapter,
    problems_of,
    rewrite_tensors,
)
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")

ensure_importable()
pytest.importorskip("transformers")
pytest.importorskip("peft")


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def damage_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "../a.safetensors"}}'
    )


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def leave_a_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


def leave_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def drop_a_tensor(folder: Path) -> None:
    rewrite_tensors(folder / "model.safetensors", lambda t: t.pop("lm_head.weight"))


def add_a_tensor(folder: Path) -> None:
    rewrite_tensors(folder / "model.safetensors", lambda t: t.update(extra=torch.zeros(2)))


def cut_a_tensor(folder: Path) -> None:
    rewrite_tensors(
        folder / "model.safetensors",
        lambda t: t.update({"lm_head.weight": t["lm_head.weight"][:5].clone()}),
    )


def drop_the_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def write_template(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text)

    return write


def set_config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", **values)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            lambda f: (f / "config.json").unlink(),
            r"config\.json is missing, so .* not a checkpoint",
        ),
        (damage_config, r"config\.json is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json is not a JSON object"),
        (set_config(model_type=None), r"config\.json has no model_type"),
        (set_config(model_type="llama"), "'llama', which is not an image-text-to-text model"),
        (set_config(model_type="odd"), r"'odd', which transformers \S+ does not know"),
        (set_config(auto_map={"AutoModel": "m.M"}), r"config\.json has an auto_map"),
        (
            lambda f: edit_json(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["m.M"]}),
            r"tokenizer_config\.json has an auto_map",
        ),
        (lambda f: (f / "model.safetensors").unlink(), r"no weights: model\.safetensors is miss"),
        (damage_index, r"index\.json does not name weight files next to it"),
        (lose_a_shard, r"model-00002-of-00002\.safetensors are missing"),
        (cut_off_weights, r"have \d+ bytes, expected \d+ by their header: .* is truncated"),
        (leave_a_pointer, r"not a safetensors file .* Git LFS pointer"),
        (leave_pickles, r"pickles \(pytorch_model\.bin\).* convert a checkpoint that you trust"),
        (drop_a_tensor, r"do not fit Qwen2VL.*: 1 tensors missing \(lm_head\.weight\)"),
        (add_a_tensor, r"1 tensors not part of the model \(extra\)"),
        (cut_a_tensor, r"1 tensors of another shape \(lm_head\.weight is \(5, 64\), expected"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "the processor in .* cannot be loaded"),
        (lambda f: (f / "processor_config.json").unlink(), "processor"),
        (drop_the_template, r"has no chat template.*copy chat_template\.jinja"),
        (write_template("{% if %}"), "chat template in .* cannot be rendered"),
        (write_template("{{ messages[0]['content'] }}"), "not put one image and one text into"),
    ],
)
def test_a_checkpoint_that_cannot_be_used(
    copied: Path, damage: Callable[[Path], None], problem: str
) -> None:
    damage(copied)
    found = problems_of(copied)
    assert re.search(problem, found), found


def test_weights_that_are_tied_may_be_missing(models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    folder = tmp_path / "tied"
    shutil.copytree(models["qwen2_vl"], folder)
    edit_json(folder / "config.json", tie_word_embeddings=True)
    config = json.loads((folder / "config.json").read_text())
    edit_json(
        folder / "config.json", text_config={**config["text_config"], "tie_word_embeddings": True}
    )
    drop_a_tensor(folder)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert len(answers(folder)) == 5


def test_an_end_that_nobody_names(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    edit_json(copied / "config.json", text_config={**config["text_config"], "eos_token_id": None})
    (copied / "generation_config.json").unlink()
    edit_json(copied / "tokenizer_config.json", eos_token=None)
    assert "defines no end-of-text token" in problems_of(copied)


def test_a_tokenizer_of_another_model(copied: Path) -> None:
    path = copied / "tokenizer.json"
    content = json.loads(path.read_text())
    last = max(t["id"] for t in content["added_tokens"])
    content["added_tokens"].append(
        {**content["added_tokens"][-1], "id": last + 1, "content": "<|one more|>"}
    )
    path.write_text(json.dumps(content))
    assert re.search(r"has \d+ tokens, but .* only \d+", problems_of(copied))


@pytest.mark.parametrize(
    ("owner", "base", "modules", "problem"),
    [
        ("qwen2_vl", "llava", ("q_proj",), "tensors missing"),
        ("llava", "qwen2_vl", ("q_proj",), "tensors not part of the model"),
        ("qwen2_vl", "llava", ("v_proj",), "size mismatch"),
        ("qwen2_vl", "llava", ("qkv",), "Target modules"),
    ],
)
def test_an_adapter_of_another_model(
    models: dict[str, Path],
    tmp_path: Path,
    *,
    owner: str,
    base: str,
    modules: tuple[str, ...],
    problem: str,
) -> None:
    adapter = make_adapter(models[owner], tmp_path / "lora", modules=modules)
    found = problems_of(models[base], adapter=str(adapter))
    assert f"{adapter} does not fit the model {models[base]}" in found
    assert problem in found
