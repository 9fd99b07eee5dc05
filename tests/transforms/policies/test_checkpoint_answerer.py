"""A checkpoint answers: batches change nothing, and no damaged or foreign file is let pass."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tiny_models import Family, make_tiny_model

from transforms.coordinates import SmartResize
from transforms.errors import AnswerError, ConfigError
from transforms.policies.checkpoint_answerer import (
    CheckpointOptions,
    describe_checkpoint,
    load_checkpoint_answerer,
)
from transforms.protocols import Question
from transforms.torchvision_ops import ensure_importable

torch = pytest.importorskip("torch")
ensure_importable()
pytest.importorskip("transformers")
pytest.importorskip("peft")

FAMILIES: tuple[Family, ...] = get_args(Family)
LLAVA_PICTURE_TOKENS = 16

Adapters = Callable[..., Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each family. Must not be changed."""
    folder = tmp_path_factory.mktemp("models")
    return {family: Path(make_tiny_model(family, folder / family)) for family in FAMILIES}


@pytest.fixture
def copied(models: dict[str, Path], tmp_path: Path) -> Path:
    """A Qwen2-VL that a test may damage."""
    return Path(shutil.copytree(models["qwen2_vl"], tmp_path / "copied"))


def make_adapter(base: Path, folder: Path, *, modules: tuple[str, ...] = ("q_proj",)) -> Path:
    """Make a LoRA adaptor with random weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=list(modules), init_lora_weights=False)
    model: Any = AutoModelForImageTextToText.from_pretrained(base)
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def questions(count: int = 5) -> list[Question]:
    rng = np.random.default_rng(0)
    return [
        Question(
            target_id=f"t{i}",
            turn=i % 2,
            image=rng.integers(0, 256, (40 + 13 * i, 90 - 11 * i, 3), dtype=np.uint8),
            text=f"<image>Segment this object: {'red ' * i}car.",
        )
        for i in range(count)
    ]


def cpu_options(model: Path | str, **settings: Any) -> CheckpointOptions:
    defaults = {"device": "cpu", "dtype": "float32", "max_new_tokens": 12}
    return CheckpointOptions(str(model), **{**defaults, **settings})


def answers(model: Path | str, asked: list[Question] | None = None, **settings: Any) -> list[str]:
    answerer = load_checkpoint_answerer(cpu_options(model, **settings))
    return answerer.answer(questions() if asked is None else asked)


def problems_of(model: Path | str, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_checkpoint_answerer(cpu_options(model, **settings))
    return str(caught.value)


def edit_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


@pytest.fixture
def seen_inputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the models of the test are given, a dictionary of tensors per batch."""
    from transformers import GenerationMixin

    seen: list[dict[str, Any]] = []
    generate = GenerationMixin.generate

    def spy(self: Any, **inputs: Any) -> Any:
        seen.append(inputs)
        return generate(self, **inputs)

    monkeypatch.setattr(GenerationMixin, "generate", spy)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    def test_batches_do_not_change_the_answers(
        self, models: dict[str, Path], family: Family
    ) -> None:
        together = answers(models[family])
        assert len(together) == 5
        assert len(set(together)) > 1
        assert together == answers(models[family], batch_size=1)
        assert together == answers(models[family], batch_size=2)

    def test_an_adaptor_changes_the_answers_and_batches_do_not(
        self, models: dict[str, Path], tmp_path: Path, family: Family
    ) -> None:
        adapter = make_adapter(models[family], tmp_path / "lora")
        together = answers(models[family], adapter=str(adapter))
        assert together != answers(models[family])
        assert together == answers(models[family], adapter=str(adapter), batch_size=1)
        assert together == answers(adapter)

    def test_draws_belong_to_the_question(self, models: dict[str, Path], family: Family) -> None:
        drawn = answers(models[family], temperature=1.0, seed=3)
        backwards = answers(
            models[family], questions()[::-1], temperature=1.0, seed=3, batch_size=2
        )
        assert drawn == backwards[::-1]
        assert drawn != answers(models[family], temperature=1.0, seed=4)
        assert drawn != answers(models[family])

    def test_further_draws_stand_beside_the_likeliest_answer(
        self, models: dict[str, Path], family: Family
    ) -> None:
        first = questions(2)
        draws = [replace(first[0], draw=d, temperature=1.0) for d in (1, 2)]
        mixed = answers(models[family], [*first, *draws])
        assert mixed[:2] == answers(models[family], first)
        assert len({mixed[0], *mixed[2:]}) == 3
        assert mixed[2:] == answers(models[family], draws[::-1], batch_size=1)[::-1]
        assert mixed[2:] != answers(models[family], draws, seed=9)

    def test_the_model_sees_the_picture_at_the_processor_s_size(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]], family: Family
    ) -> None:
        config = json.loads((models[family] / "config.json").read_text())
        answers(models[family])
        (inputs,) = seen_inputs
        image_token = config.get("image_token_id", config.get("image_token_index"))
        counts = (inputs["input_ids"] == image_token).sum(dim=1).tolist()
        if family == "llava":
            assert counts == [LLAVA_PICTURE_TOKENS] * 5
            return
        side = 32 if family == "qwen3_vl" else 28
        resize = SmartResize(factor=side, min_pixels=4 * side**2, max_pixels=16 * side**2)
        sizes = [resize((q.image.shape[0], q.image.shape[1])) for q in questions()]
        assert counts == [height * width // side**2 for height, width in sizes]
        assert len(set(counts)) > 1
        patch = side // 2
        assert inputs["image_grid_thw"].tolist() == [[1, h // patch, w // patch] for h, w in sizes]

    def test_loading_writes_nothing_and_needs_no_network(
        self,
        models: dict[str, Path],
        tmp_path: Path,
        family: Family,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from transformers.utils import logging

        def refuse(*_: Any) -> None:
            raise AssertionError("nothing may be fetched")

        adapter = make_adapter(models[family], tmp_path / "lora")
        logging.set_verbosity_warning()
        logging.enable_progress_bar()
        before = logging.get_verbosity(), logging.is_progress_bar_enabled()
        capfd.readouterr()
        monkeypatch.setattr(socket.socket, "connect", refuse)
        answers(adapter)
        assert capfd.readouterr() == ("", "")
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("processor", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"])
@pytest.mark.parametrize("patch", [14, 16])
@given(height=st.integers(4, 300), width=st.integers(4, 300))
@hypothesis_settings(max_examples=30)
def test_smart_resize_is_what_the_image_processors_do(
    *, processor: str, patch: int, height: int, width: int
) -> None:
    import transformers
    from PIL import Image

    side = 2 * patch
    bounds = {"min_pixels": 2 * side**2, "max_pixels": 24 * side**2}
    size = {"shortest_edge": bounds["min_pixels"], "longest_edge": bounds["max_pixels"]}
    make = getattr(transformers, processor)
    picture = Image.new("RGB", (width, height))
    tensors = make(patch_size=patch, merge_size=2, size=size)(images=picture, return_tensors="pt")
    ((_, rows, columns),) = tensors["image_grid_thw"].tolist()
    assert (rows * patch, columns * patch) == SmartResize(side, **bounds)((height, width))


class TestPrompt:
    def test_the_question_is_put_as_it_is_with_the_picture_in_its_place(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]]
    ) -> None:
        picture = np.zeros((56, 56, 3), dtype=np.uint8)
        answers(models["qwen2_vl"], [Question("t", 0, picture, "Look:\n<image> Where? ")])
        pads = "<|image_pad|>" * 4
        assert decoded(models["qwen2_vl"], seen_inputs[0]["input_ids"][0]) == (
            f"<|im_start|>user\nLook:\n<|vision_start|>{pads}<|vision_end|> Where? <|im_end|>\n"
            "<|im_start|>assistant\n"
        )

    def test_shorter_prompts_are_padded_on_the_left(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]]
    ) -> None:
        answers(models["llava"])
        mask = seen_inputs[0]["attention_mask"]
        assert mask[:, -1].tolist() == [1] * 5
        assert mask[0, 0] == 0

    @pytest.mark.parametrize("in_template", [True, False])
    def test_the_first_token_stands_once(
        self,
        models: dict[str, Path],
        tmp_path: Path,
        seen_inputs: list[dict[str, Any]],
        in_template: bool,
    ) -> None:
        """As with LLaVA, whose tokenizer puts a token first that its template may hold too."""
        folder = Path(shutil.copytree(models["llava"], tmp_path / "llava"))
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        bos = next(t["id"] for t in content["added_tokens"] if t["content"] == "<s>")
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [bos], "tokens": ["<s>"]}},
        }
        path.write_text(json.dumps(content))
        edit_json(folder / "tokenizer_config.json", bos_token="<s>")
        if in_template:
            template = folder / "chat_template.jinja"
            template.write_text("<s>" + template.read_text())
        answers(folder, questions(1))
        tokens = seen_inputs[0]["input_ids"][0].tolist()
        assert tokens.count(bos) == 1
        assert tokens[0] == bos

    def test_a_tokenizer_s_own_template_does(self, copied: Path, models: dict[str, Path]) -> None:
        template = copied / "chat_template.jinja"
        edit_json(copied / "tokenizer_config.json", chat_template=template.read_text())
        template.unlink()
        assert answers(copied) == answers(models["qwen2_vl"])

    @pytest.mark.parametrize("text", ["no mark", "<image><image>", "<image>a <|image_pad|>"])
    def test_another_number_of_marks_is_refused(self, models: dict[str, Path], text: str) -> None:
        asked = [*questions(1), Question("odd", 7, questions(1)[0].image, text)]
        with pytest.raises(AnswerError, match=r"question 7 of target 'odd' has .* marks <image>"):
            answers(models["qwen2_vl"], asked)


def decoded(model: Path, tokens: Any) -> str:
    from transformers import AutoTokenizer

    return cast("Any", AutoTokenizer.from_pretrained(model)).decode(tokens)


class TestGeneration:
    def test_only_new_tokens_become_text_and_no_special_ones(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import AutoTokenizer, GenerationMixin

        tokenizer: Any = AutoTokenizer.from_pretrained(models["qwen2_vl"])
        texts = ["Positive point: (0.1, 0.2)<|im_end|><|endoftext|>", " Finish\n<|im_end|>"]
        new = tokenizer(texts, padding=True, return_tensors="pt", padding_side="right").input_ids

        def generate(_: Any, *, input_ids: Any, **__: Any) -> Any:
            return torch.cat([input_ids, new], dim=1)

        monkeypatch.setattr(GenerationMixin, "generate", generate)
        found = answers(models["qwen2_vl"], questions(2))
        assert found == ["Positive point: (0.1, 0.2)", " Finish\n"]

    def test_a_checkpoint_s_own_sampling_settings_are_left_out(
        self, copied: Path, models: dict[str, Path]
    ) -> None:
        path = copied / "generation_config.json"
        edit_json(path, do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3)
        assert answers(copied) == answers(models["qwen2_vl"])

    def test_draws_depend_on_the_turn(self, models: dict[str, Path]) -> None:
        first = questions(1)[0]
        again = [first, replace(first, turn=1), first]
        drawn = answers(models["llava"], again, temperature=1.0)
        assert drawn[0] == drawn[2]
        assert drawn[0] != drawn[1]

    def test_a_low_temperature_leaves_no_chance(self, models: dict[str, Path]) -> None:
        assert answers(models["llava"], temperature=1e-6) == answers(models["llava"])

    def test_draws_follow_the_scores_and_the_temperature(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import GenerationMixin

        chances = np.array([0.5, 0.3, 0.2, 0.0])
        with np.errstate(divide="ignore"):
            scores = torch.tensor(np.log(chances)).float().repeat(5, 1)
        drawn = []

        def generate(_: Any, *, input_ids: Any, logits_processor: Any, **__: Any) -> Any:
            for _ in range(1000):
                drawn.extend(logits_processor[0](input_ids, scores).argmax(dim=1).tolist())
            return input_ids

        monkeypatch.setattr(GenerationMixin, "generate", generate)
        answers(models["llava"], temperature=0.5)
        sharper = chances**2 / (chances**2).sum()
        found = np.bincount(drawn, minlength=4) / len(drawn)
        np.testing.assert_allclose(found, sharper, atol=0.03)
        assert found[3] == 0

    def test_the_number_of_new_tokens_is_bounded(self, models: dict[str, Path]) -> None:
        longer = answers(models["llava"], max_new_tokens=6)
        shorter = answers(models["llava"], max_new_tokens=2)
        assert longer != shorter
        assert all(a.startswith(b.rstrip("\ufffd")) for a, b in zip(longer, shorter, strict=True))

    def test_no_question_is_no_answer(self, models: dict[str, Path]) -> None:
        assert answers(models["llava"], []) == []

    def test_a_small_batch_goes_on_where_memory_runs_out(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import GenerationMixin

        expected = answers(models["llava"])
        generate = GenerationMixin.generate
        sizes = []

        def scarce(self: Any, **inputs: Any) -> Any:
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return generate(self, **inputs)

        monkeypatch.setattr(GenerationMixin, "generate", scarce)
        assert answers(models["llava"], batch_size=16) == expected
        assert sizes == [5, 2, 2, 1]

    def test_memory_too_small_for_one_question_is_an_error(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import GenerationMixin

        def none_left(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(GenerationMixin, "generate", none_left)
        with pytest.raises(AnswerError, match="question 0 of target 't0': memory ran out at a ba"):
            answers(models["llava"])

    def test_what_the_model_raises_is_told(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import GenerationMixin

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("device-side assert")

        monkeypatch.setattr(GenerationMixin, "generate", fail)
        with pytest.raises(AnswerError, match=r"'t0' and 4 more: RuntimeError: device-side asse"):
            answers(models["llava"])

    def test_a_picture_that_the_processor_refuses_is_told(self, models: dict[str, Path]) -> None:
        ribbon = Question("ribbon", 0, np.zeros((1, 900, 3), dtype=np.uint8), "<image>Where?")
        with pytest.raises(AnswerError, match=r"target 'ribbon': ValueError: .*aspect ratio"):
            answers(models["qwen2_vl"], [ribbon])


class TestOptions:
    def test_every_problem_is_named_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            CheckpointOptions(
                "",
                adapter="",
                device="gpu",
                dtype=cast("Any", "int8"),
                batch_size=0,
                max_new_tokens=0,
                temperature=float("nan"),
                seed=-1,
            )
        words = ("model", "adaptor", "gpu", "int8", "batch_size", "max_new", "nan", "seed")
        assert len(caught.value.problems) == len(words)
        for word, problem in zip(words, caught.value.problems, strict=True):
            assert word in problem

    def test_they_travel_to_workers(self) -> None:
        options = CheckpointOptions("a", adapter="b", device="cuda:1", temperature=0.5)
        assert pickle.loads(pickle.dumps(options)) == options

    def test_cuda_that_is_not_there(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        problem = problems_of(models["llava"], device="cuda:1")
        assert "device 'cuda:1' was asked for, but this torch sees no CUDA device" in problem

    def test_the_dtype_is_taken(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]]
    ) -> None:
        assert len(answers(models["llava"], dtype="bfloat16")) == 5
        assert seen_inputs[0]["pixel_values"].dtype == torch.bfloat16

    def test_a_missing_package_is_named(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "peft", None)
        assert "needs the package 'peft'" in problems_of(models["llava"])


class TestFinding:
    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        problem = problems_of(tmp_path / "nothing")
        assert f"looked for the folder {tmp_path / 'nothing'}; give" in problem
        assert "Hugging Face" not in problem

    def test_an_id_that_is_not_there(self, cache: Path, tmp_path: Path) -> None:
        problem = problems_of("org/name", adapter=str(tmp_path / "lora"))
        assert f"in the Hugging Face cache {cache}" in problem
        assert "`hf download org/name --local-dir DIR`" in problem
        assert str(Path("org/name").absolute()) in problem
        assert "the adaptor" in problem.splitlines()[1]

    def test_an_id_in_the_cache_is_loaded(self, cache: Path, models: dict[str, Path]) -> None:
        repository = cache / "models--org--name"
        shutil.copytree(models["llava"], repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        assert answers("org/name") == answers(models["llava"])

    def test_a_file(self, models: dict[str, Path]) -> None:
        assert "is a file" in problems_of(models["llava"] / "model.safetensors")

    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_a_base_is_looked_for_beside_the_adaptor(
        self, models: dict[str, Path], tmp_path: Path
    ) -> None:
        base = shutil.copytree(models["llava"], tmp_path / "base")
        adapter = make_adapter(base, tmp_path / "lora")
        edit_json(adapter / "adapter_config.json", base_model_name_or_path="../base")
        assert answers(adapter) == answers(base, adapter=str(adapter))

    @pytest.mark.parametrize("base", [None, "", "/nowhere/base"])
    def test_a_base_that_is_not_there(
        self, models: dict[str, Path], tmp_path: Path, base: str | None
    ) -> None:
        adapter = make_adapter(models["llava"], tmp_path / "lora")
        edit_json(adapter / "adapter_config.json", base_model_name_or_path=base)
        expected = "/nowhere/base" if base else "does not say which model"
        assert expected in problems_of(adapter)

    def test_the_adaptor_s_processor_is_used(
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


def cut_off_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


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


def rewrite_tensors(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


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
        (lambda f: (f / "config.json").unlink(), r"config\.json is missing, so .* no checkpoint"),
        (damage_config, r"config\.json is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json is not a JSON object"),
        (set_config(model_type=None), r"config\.json has no model_type"),
        (set_config(model_type="llama"), "'llama', which does not answer questions about pict"),
        (set_config(model_type="odd"), r"'odd', which transformers \S+ does not know"),
        (set_config(auto_map={"AutoModel": "m.M"}), r"config\.json has an auto_map"),
        (
            lambda f: edit_json(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["m.M"]}),
            r"tokenizer_config\.json has an auto_map",
        ),
        (lambda f: (f / "model.safetensors").unlink(), r"no weights: model\.safetensors is miss"),
        (damage_index, r"index\.json does not name weight files beside it"),
        (lose_a_shard, r"model-00002-of-00002\.safetensors are missing"),
        (cut_off_weights, r"have \d+ bytes, their header says \d+: the file is cut off"),
        (leave_a_pointer, r"not a safetensors file .* Git LFS pointer"),
        (leave_pickles, r"pickles \(pytorch_model\.bin\).* convert a checkpoint that you trust"),
        (drop_a_tensor, r"do not fit Qwen2VL.*: 1 tensors missing \(lm_head\.weight\)"),
        (add_a_tensor, r"1 tensors not part of the model \(extra\)"),
        (cut_a_tensor, r"1 tensors of another shape \(lm_head\.weight is \(5, 64\), expected"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "the processor in .* cannot be loaded"),
        (lambda f: (f / "processor_config.json").unlink(), "processor"),
        (drop_the_template, r"has no chat template.*copy the chat_template\.jinja"),
        (write_template("{% if %}"), "chat template in .* cannot be rendered"),
        (write_template("{{ messages[0]['content'] }}"), "not put one picture and one text into"),
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
    assert "names no token that ends an answer" in problems_of(copied)


def test_a_tokenizer_of_another_model(copied: Path) -> None:
    path = copied / "tokenizer.json"
    content = json.loads(path.read_text())
    last = max(t["id"] for t in content["added_tokens"])
    content["added_tokens"].append(
        {**content["added_tokens"][-1], "id": last + 1, "content": "<|one more|>"}
    )
    path.write_text(json.dumps(content))
    assert re.search(r"has \d+ tokens and .* knows \d+", problems_of(copied))


@pytest.mark.parametrize(
    ("owner", "base", "modules", "problem"),
    [
        ("qwen2_vl", "llava", ("q_proj",), "tensors missing"),
        ("llava", "qwen2_vl", ("q_proj",), "tensors not part of the model"),
        ("qwen2_vl", "llava", ("v_proj",), "size mismatch"),
        ("qwen2_vl", "llava", ("qkv",), "Target modules"),
    ],
)
def test_an_adaptor_of_another_model(
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


class TestAdapterFiles:
    @pytest.fixture
    def adapter(self, models: dict[str, Path], tmp_path: Path) -> Path:
        return make_adapter(models["llava"], tmp_path / "lora")

    def test_tensors_under_other_names(self, adapter: Path) -> None:
        """peft alone would answer with the base."""

        def rename(tensors: dict[str, Any]) -> None:
            for name in list(tensors):
                tensors[name.replace("layers.1", "layers.9")] = tensors.pop(name)

        rewrite_tensors(adapter / "adapter_model.safetensors", rename)
        found = problems_of(adapter)
        assert "tensors missing" in found
        assert "not part of the model" in found

    def test_an_adaptor_of_an_adaptor(self, adapter: Path) -> None:
        assert "is itself an adaptor" in problems_of(adapter, adapter=str(adapter))

    def test_a_base_that_is_an_adaptor(self, adapter: Path, tmp_path: Path) -> None:
        outer = Path(shutil.copytree(adapter, tmp_path / "outer"))
        edit_json(outer / "adapter_config.json", base_model_name_or_path=str(adapter))
        assert "is itself an adaptor" in problems_of(outer)

    def test_a_full_model_as_adaptor(self, models: dict[str, Path]) -> None:
        found = problems_of(models["llava"], adapter=str(models["qwen2_vl"]))
        assert "adapter_config.json is missing" in found

    def test_another_kind(self, adapter: Path) -> None:
        edit_json(adapter / "adapter_config.json", peft_type="IA3", megatron_config={"a": 1})
        found = problems_of(adapter)
        assert "peft_type 'IA3', expected 'LORA'" in found
        assert "megatron_config" in found

    def test_no_json(self, adapter: Path) -> None:
        (adapter / "adapter_config.json").write_text("{")
        assert "adapter_config.json is not JSON" in problems_of(adapter)

    def test_pickles(self, adapter: Path) -> None:
        (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
        assert "pickles (adapter_model.bin)" in problems_of(adapter)

    def test_cut_off_weights(self, adapter: Path) -> None:
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        assert "the file is cut off" in problems_of(adapter)

    def test_problems_of_both_are_named_at_once(self, adapter: Path, copied: Path) -> None:
        cut_off_weights(copied)
        (adapter / "adapter_model.safetensors").unlink()
        assert len(problems_of(copied, adapter=str(adapter)).splitlines()) == 2


class TestDescription:
    def test_it_says_what_determines_the_answers(self, models: dict[str, Path]) -> None:
        options = cpu_options(models["llava"], batch_size=3)
        description = dict(describe_checkpoint(options))
        assert len(str(description.pop("checkpoint_sha256"))) == 64
        assert description == {
            "model_type": "llava",
            "has_adapter": False,
            "dtype": "float32",
            "max_new_tokens": 12,
            "temperature": 0.0,
            "seed": None,
        }
        assert load_checkpoint_answerer(options).describe() == describe_checkpoint(options)
        drawn = describe_checkpoint(cpu_options(models["llava"], temperature=1, seed=5))
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


def sha256(model: Path, **settings: Any) -> str:
    return str(describe_checkpoint(cpu_options(model, **settings))["checkpoint_sha256"])


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
