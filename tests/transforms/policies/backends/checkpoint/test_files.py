"""Where a checkpoint lies, what belongs to it, and what its answers depend on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoint_cases import (
    answers,
    cpu_options,
    cut_off_weights,
    decoded,
    edit_json,
    make_adapter,
    problems_of,
    rewrite_tensors,
)
from hlmat.transforms.policies.backends.checkpoint.generate import (
    checkpoint_identity,
    load_checkpoint_answerer,
)
from hlmat.transforms.torch_support.torchvision import ensure_importable

torch = pytest.importorskip("torch")

ensure_importable()
pytest.importorskip("transformers")
pytest.importorskip("peft")


class TestFinding:
    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "nothing"
        assert problems_of(path) == not_found("the model", path)

    def test_an_id_that_is_not_there(self, cache: Path, tmp_path: Path) -> None:
        adapter = tmp_path / "lora"
        assert problems_of("org/name", adapter=str(adapter)).splitlines() == [
            "the model 'org/name' does not exist: looked for the folder "
            f"{Path('org/name').absolute()} and for the id in the Hugging Face cache {cache}; "
            "hlmat downloads nothing, so fetch it with `hf download org/name --local-dir DIR` and "
            "give DIR",
            not_found("the adapter", adapter),
        ]

    def test_an_id_in_the_cache_is_loaded(self, cache: Path, models: dict[str, Path]) -> None:
        repository = cache / "models--org--name"
        shutil.copytree(models["llava"], repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        assert answers("org/name") == answers(models["llava"])

    def test_a_file(self, models: dict[str, Path]) -> None:
        path = models["llava"] / "model.safetensors"
        assert problems_of(path) == f"the model '{path}' is a file; give its folder"

    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_a_base_is_looked_for_beside_the_adapter(
        self, models: dict[str, Path], tmp_path: Path
    ) -> None:
        base = shutil.copytree(models["llava"], tmp_path / "base")
        adapter = make_adapter(base, tmp_path / "lora")
        edit_json(adapter / "adapter_config.json", base_model_name_or_path="../base")
        assert answers(adapter) == answers(base, adapter=str(adapter))

    def test_a_base_that_is_not_there(self, models: dict[str, Path], tmp_path: Path) -> None:
        adapter = make_adapter(models["llava"], tmp_path / "lora")
        edit_json(adapter / "adapter_config.json", base_model_name_or_path="/nowhere/base")
        assert problems_of(adapter) == not_found(
            f"the base of the adapter {adapter},", Path("/nowhere/base")
        )

    @pytest.mark.parametrize("base", [None, ""])
    def test_a_base_that_is_not_named(
        self, models: dict[str, Path], tmp_path: Path, base: str | None
    ) -> None:
        adapter = make_adapter(models["llava"], tmp_path / "lora")
        edit_json(adapter / "adapter_config.json", base_model_name_or_path=base)
        assert problems_of(adapter) == (
            f"{adapter}/adapter_config.json does not name its base model (base_model_name_or_path "
            f"is {base!r}); give that model and this folder as its adapter"
        )

    def test_the_adapter_s_processor_is_used(
        self, models: dict[str, Path], tmp_path: Path, seen_inputs: list[dict[str, Any]]
    ) -> None:
        adapter = make_adapter(models["llava"], tmp_path / "lora")
        for path in models["llava"].iterdir():
            if path.name != "config.json" and path.suffix != ".safetensors":
                shutil.copy(path, adapter)
        template = adapter / "chat_template.jinja"
        template.write_text(template.read_text() + "Answer:")
        answers(adapter)
        assert decoded(adapter, seen_inputs[0]["input_ids"][0]).endswith("Answer:")


class TestAdapterFiles:
    @pytest.fixture
    def adapter(self, models: dict[str, Path], tmp_path: Path) -> Path:
        return make_adapter(models["llava"], tmp_path / "lora")

    def test_tensors_under_other_names(self, adapter: Path, models: dict[str, Path]) -> None:
        """peft alone would answer with the base."""

        def rename(tensors: dict[str, Any]) -> None:
            for name in list(tensors):
                tensors[name.replace("layers.1", "layers.9")] = tensors.pop(name)

        rewrite_tensors(adapter / "adapter_model.safetensors", rename)
        language = "base_model.model.model.language_model.layers.{0}.self_attn.q_proj.lora_{1}"
        vision = "base_model.model.model.vision_tower.encoder.layers.{0}.self_attn.q_proj.lora_{1}"
        missing, extra = (
            ", ".join(
                f"{name.format(layer, part)}.default.weight"
                for name, part in ((language, "A"), (language, "B"), (vision, "A"))
            )
            for layer in (1, 9)
        )
        # Before transformers 5.3, the tower's names have one more part.
        assert problems_of(adapter).replace(".vision_model.", ".") == (
            f"the adapter {adapter} does not fit the model {models['llava']}: 4 tensors missing "
            f"({missing}, ...); 4 tensors not part of the model ({extra}, ...); give the model "
            "that it was trained on"
        )

    def test_an_adapter_of_an_adapter(self, adapter: Path) -> None:
        assert problems_of(adapter, adapter=str(adapter)) == only_one_adapter(adapter)

    def test_a_base_that_is_an_adapter(self, adapter: Path, tmp_path: Path) -> None:
        outer = Path(shutil.copytree(adapter, tmp_path / "outer"))
        edit_json(outer / "adapter_config.json", base_model_name_or_path=str(adapter))
        assert problems_of(outer) == only_one_adapter(adapter)

    def test_a_full_model_as_adapter(self, models: dict[str, Path]) -> None:
        full = models["qwen2_vl"]
        assert problems_of(models["llava"], adapter=str(full)) == (
            f"{full}/adapter_config.json is missing, so {full} is not a LoRA adapter; give the "
            "folder of one, or leave the adapter out"
        )

    def test_another_kind(self, adapter: Path) -> None:
        edit_json(adapter / "adapter_config.json", peft_type="IA3", megatron_config={"a": 1})
        config = adapter / "adapter_config.json"
        assert problems_of(adapter).splitlines() == [
            f"{config} is of peft_type 'IA3', expected 'LORA'; merge the adapter into its base and "
            "give the full model",
            f"{config} has a megatron_config, which is not supported",
        ]

    def test_no_json(self, adapter: Path) -> None:
        (adapter / "adapter_config.json").write_text("{")
        assert problems_of(adapter) == (
            f"{adapter}/adapter_config.json is not JSON: Expecting property name enclosed in "
            "double quotes: line 1 column 2 (char 1); fetch or save the checkpoint again"
        )

    def test_pickles(self, adapter: Path) -> None:
        (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
        assert problems_of(adapter) == (
            f"{adapter} has its weights as pickles (adapter_model.bin), which can run code when "
            "loaded, and no adapter_model.safetensors; convert a checkpoint that you trust: load "
            "it with from_pretrained(..., use_safetensors=False) and write it with "
            "save_pretrained(...), which writes safetensors"
        )

    def test_cut_off_weights(self, adapter: Path) -> None:
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        assert problems_of(adapter) == cut_off(path)

    def test_problems_of_both_are_named_at_once(self, adapter: Path, copied: Path) -> None:
        cut_off_weights(copied)
        (adapter / "adapter_model.safetensors").unlink()
        assert problems_of(copied, adapter=str(adapter)).splitlines() == [
            f"{adapter} has no weights: adapter_model.safetensors is missing; fetch or save the "
            "checkpoint again",
            cut_off(copied / "model.safetensors"),
        ]


class TestIdentity:
    def test_it_contains_what_determines_the_answers(self, models: dict[str, Path]) -> None:
        options = cpu_options(models["llava"], batch_size=3)
        identity = dict(checkpoint_identity(options))
        assert len(str(identity.pop("checkpoint_sha256"))) == 64
        assert identity == {
            "model_type": "llava",
            "has_adapter": False,
            "dtype": "float32",
            "max_new_tokens": 12,
            "temperature": 0.0,
            "seed": None,
        }
        assert load_checkpoint_answerer(options).identity() == checkpoint_identity(options)
        drawn = checkpoint_identity(cpu_options(models["llava"], temperature=1, seed=5))
        assert drawn["seed"] == 5

    def test_it_does_not_depend_on_the_place(
        self, models: dict[str, Path], copied: Path, tmp_path: Path
    ) -> None:
        (copied / "README.md").write_text("A model.")
        assert sha256(copied) == sha256(models["qwen2_vl"])
        adapter = make_adapter(copied, tmp_path / "lora")
        moved = str(shutil.copytree(adapter, tmp_path / "moved"))
        assert sha256(adapter) == sha256(models["qwen2_vl"], adapter=moved)
        assert sha256(adapter) != sha256(copied)

    @pytest.mark.parametrize(
        "name",
        ["config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"],
    )
    def test_it_depends_on_every_file_that_matters(
        self, copied: Path, models: dict[str, Path], name: str
    ) -> None:
        (copied / name).write_text((copied / name).read_text() + " ")
        assert sha256(copied) != sha256(models["qwen2_vl"])

    def test_it_depends_on_the_weights(
        self, copied: Path, models: dict[str, Path], tmp_path: Path
    ) -> None:
        flip_last_byte(copied / "model.safetensors")
        assert sha256(copied) != sha256(models["qwen2_vl"])
        adapter = make_adapter(models["qwen2_vl"], tmp_path / "lora")
        before = sha256(adapter)
        flip_last_byte(adapter / "adapter_model.safetensors")
        assert sha256(adapter) != before


def not_found(what: str, path: Path) -> str:
    """Return the message about a folder that does not exist."""
    return (
        f"{what} '{path}' does not exist: looked for the folder {path}; give the folder of a "
        "checkpoint"
    )


def only_one_adapter(folder: Path) -> str:
    """Return the message about an adapter whose base is an adapter."""
    return (
        f"the model {folder} is itself an adapter (it has adapter_config.json), and only one "
        "adapter is supported; merge it into its base and give the full model"
    )


def cut_off(path: Path) -> str:
    """Return the message about weights that lack their last byte."""
    size = path.stat().st_size
    return (
        f"the weights {path} have {size} bytes, expected {size + 1} by their header: the file is "
        "truncated or damaged; fetch or save the checkpoint again"
    )


def sha256(model: Path, **settings: Any) -> str:
    return str(checkpoint_identity(cpu_options(model, **settings))["checkpoint_sha256"])


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
