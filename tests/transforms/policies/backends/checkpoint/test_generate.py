"""A checkpoint answers, and batches change nothing."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from checkpoint_cases import (
    FAMILIES,
    answers,
    decoded,
    edit_json,
    make_adapter,
    problems_of,
    questions,
)
from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.questions import Question
from hlmat.transforms.policies.backends.checkpoint.generate import (
    CheckpointOptions,
)
from hlmat.transforms.prompting.resizes import SmartResize
from hlmat.transforms.torch_support.torchvision import ensure_importable
from tiny_models import Family

torch = pytest.importorskip("torch")

ensure_importable()
pytest.importorskip("transformers")
pytest.importorskip("peft")

LLAVA_PICTURE_TOKENS = 16


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    @pytest.mark.slow
    def test_batches_do_not_change_the_answers(
        self, models: dict[str, Path], family: Family
    ) -> None:
        together = answers(models[family])
        assert len(together) == 5
        assert len(set(together)) > 1
        assert together == answers(models[family], batch_size=1)
        assert together == answers(models[family], batch_size=2)

    @pytest.mark.slow
    def test_an_adapter_changes_the_answers_and_batches_do_not(
        self, models: dict[str, Path], tmp_path: Path, family: Family
    ) -> None:
        adapter = make_adapter(models[family], tmp_path / "lora")
        together = answers(models[family], adapter=str(adapter))
        assert together != answers(models[family])
        assert together == answers(models[family], adapter=str(adapter), batch_size=1)
        assert together == answers(adapter)

    @pytest.mark.slow
    def test_draws_belong_to_the_question(self, models: dict[str, Path], family: Family) -> None:
        drawn = answers(models[family], temperature=1.0, seed=3)
        backwards = answers(
            models[family], questions()[::-1], temperature=1.0, seed=3, batch_size=2
        )
        assert drawn == backwards[::-1]
        assert drawn != answers(models[family], temperature=1.0, seed=4)
        assert drawn != answers(models[family])

    @pytest.mark.slow
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

    def test_the_model_sees_the_image_at_the_processor_s_size(
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
        if family == "internvl":
            # Tiles of 4 tokens, and an overview where there are several.
            assert all(count == 4 or count // 4 % 2 for count in counts)
            return
        if family == "glm4v_moe":
            assert len(set(counts)) > 1  # its resize is tested with the families
            return
        side = 32 if family in ("qwen3_vl", "qwen3_5") else 28
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
def test_smart_resize_equals_that_of_the_image_processors(
    *, processor: str, patch: int, height: int, width: int
) -> None:
    import transformers
    from PIL import Image

    side = 2 * patch
    bounds = {"min_pixels": 2 * side**2, "max_pixels": 24 * side**2}
    size = {"shortest_edge": bounds["min_pixels"], "longest_edge": bounds["max_pixels"]}
    make = getattr(transformers, processor)
    image = Image.new("RGB", (width, height))
    tensors = make(patch_size=patch, merge_size=2, size=size)(images=image, return_tensors="pt")
    ((_, rows, columns),) = tensors["image_grid_thw"].tolist()
    assert (rows * patch, columns * patch) == SmartResize(side, **bounds)((height, width))


class TestPrompt:
    def test_the_question_is_put_as_it_is_with_the_image_in_its_place(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]]
    ) -> None:
        image = np.zeros((56, 56, 3), dtype=np.uint8)
        answers(models["qwen2_vl"], [Question("t", 0, image, "Look:\n<image> Where? ")])
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

    @pytest.mark.parametrize("before", ["", "Current IOU: 1.0, "])
    def test_finish_is_ruled_out_on_request(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, before: str
    ) -> None:
        from transformers import AutoTokenizer, GenerationMixin

        tokenizer: Any = AutoTokenizer.from_pretrained(models["qwen2_vl"])
        spelled = tokenizer(f"{before}Finish", add_special_tokens=False).input_ids
        wanted = next(t for t in spelled if tokenizer.decode([t]).strip()[:1] == "F")
        other = tokenizer("Positive").input_ids[0]
        found = []

        def generate(_: Any, *, input_ids: Any, logits_processor: Any, **__: Any) -> Any:
            scores = torch.zeros(1, len(tokenizer))
            scores[0, wanted], scores[0, other] = 5, 4
            for processor in logits_processor:
                scores = processor(input_ids, scores)
            found.append(int(scores.argmax()))
            return input_ids

        monkeypatch.setattr(GenerationMixin, "generate", generate)
        answers(models["qwen2_vl"], questions(1))
        answers(models["qwen2_vl"], questions(1), always_click=True)
        assert found == [wanted, other]

    def test_scores_are_read_from_the_probabilities_on_request(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import AutoTokenizer, GenerationMixin

        tokenizer: Any = AutoTokenizer.from_pretrained(models["qwen2_vl"])
        new = tokenizer("Current IOU: 0.0, Finish", return_tensors="pt").input_ids
        zero, eight = (tokenizer(digit).input_ids[0] for digit in "08")

        def generate(_: Any, *, input_ids: Any, logits_processor: Any, **__: Any) -> Any:
            for token in new[0].tolist():
                scores = torch.full((1, len(tokenizer)), -20.0)
                scores[0, token] = 0
                if token == zero:
                    scores[0, eight] = 0
                for processor in logits_processor:
                    processor(input_ids, scores)
            return torch.cat([input_ids, new], dim=1)

        monkeypatch.setattr(GenerationMixin, "generate", generate)
        one = questions(1)
        assert answers(models["qwen2_vl"], one) == ["Current IOU: 0.0, Finish"]
        expected = answers(models["qwen2_vl"], one, score_reading="expected")
        assert expected == ["Current IOU: 42.5, Finish"]

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
        with pytest.raises(AnswerError, match="question 0 of target 't0': out of memory at"):
            answers(models["llava"])

    def test_what_the_model_raises_is_reported(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import GenerationMixin

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("device-side assert")

        monkeypatch.setattr(GenerationMixin, "generate", fail)
        with pytest.raises(AnswerError, match=r"'t0' and 4 more: RuntimeError: device-side asse"):
            answers(models["llava"])

    def test_an_image_that_the_processor_refuses_is_reported(self, models: dict[str, Path]) -> None:
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
        assert caught.value.problems == (
            "CheckpointOptions.model '': expected the folder of a checkpoint",
            "CheckpointOptions.adapter '': expected the folder of a LoRA adapter for --model",
            "CheckpointOptions.device 'gpu': expected auto, cpu, cuda, cuda:N or mps",
            "CheckpointOptions.dtype 'int8': choose from auto, float32, bfloat16, float16",
            "CheckpointOptions.batch_size 0: must be at least 1",
            "CheckpointOptions.max_new_tokens 0: must be at least 1",
            "CheckpointOptions.temperature nan: expected a number of at least 0",
            "CheckpointOptions.seed -1: must be at least 0",
        )

    def test_they_travel_to_workers(self) -> None:
        options = CheckpointOptions("a", adapter="b", device="cuda:1", temperature=0.5)
        assert pickle.loads(pickle.dumps(options)) == options

    def test_cuda_that_is_not_there(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert problems_of(models["llava"], device="cuda:1") == (
            "device 'cuda:1' was asked for, but this torch sees no CUDA device; use cpu"
        )

    def test_the_dtype_is_taken(
        self, models: dict[str, Path], seen_inputs: list[dict[str, Any]]
    ) -> None:
        assert len(answers(models["llava"], dtype="bfloat16")) == 5
        assert seen_inputs[0]["pixel_values"].dtype == torch.bfloat16

    def test_a_missing_package_is_named(
        self, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "peft", None)
        assert problems_of(models["llava"]) == (
            "a model in this process needs the package 'peft', which is not installed; "
            "pip install 'hlmat[train]'"
        )
