"""Each dialogue's export through LLaMA-Factory's own loader, template and collator."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from hlmat.export.llama_factory.samples import cases_of
from hlmat.export.llama_factory.tasks.registry import TASKS
from hlmat.export.llama_factory.writer import LlamaFactoryOptions, export_task
from hlmat.transforms.core.records import Click, Finish, InvalidAction
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.dialogues.registry import DIALOGUES, load_dialogue, prompt_of
from llama_factory_scripts import printed_by
from repository import REPOSITORY
from tiny_models import make_tiny_model
from trajectory_cases import load_image, make_trajectory

SIZE_HW = (100, 200)
NAMES = [(dialogue, task) for dialogue in DIALOGUES for task in ("next-click", "multi-turn")]
SCRIPT = REPOSITORY / "tests" / "train_recipes" / "check_with_llama_factory.py"
END = "<|im_end|>"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
    ),
]


def options_of(dialogue: str) -> LlamaFactoryOptions:
    """The dialogue in its own coordinates, with its own question."""
    speech = load_dialogue(dialogue)
    turn_format = TurnFormat(
        build_codec(speech.codec),
        with_finish=True,
        dialogue=speech,
        prompt=prompt_of(speech, Offer(finish=True)),
    )
    return LlamaFactoryOptions(turn_format=turn_format)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What LLaMA-Factory makes of each export, all in one process."""
    root = tmp_path_factory.mktemp("dialogues")
    model = make_tiny_model("qwen3_vl", root / "model")
    jobs = []
    for dialogue, task in NAMES:
        name = f"{dialogue}-{task}"
        out, options = root / name, options_of(dialogue)
        cases = cases_of([make_trajectory("t1")])
        export_task(TASKS[task], cases, load_image, str(out), options=options)
        settings = {
            "model_name_or_path": model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "template": "qwen3_vl_nothink",
            "dataset": options.name,
            "dataset_dir": str(out),
            "media_dir": str(out),
            "output_dir": str(root / f"{name}-model"),
            "cutoff_len": 16384,
            "use_cpu": True,
            "report_to": "none",
        }
        jobs.append({"name": name, "settings": settings, "sizes": []})
    path = root / "jobs.json"
    path.write_text(json.dumps(jobs))
    found = {each["name"]: each for each in printed_by(SCRIPT, str(path), cache=root)}
    for dialogue, task in NAMES:
        data = root / f"{dialogue}-{task}" / f"{options_of(dialogue).name}.json"
        found[f"{dialogue}-{task}"]["written"] = json.loads(data.read_text())
    return found


def written_answers(row: dict[str, Any]) -> list[str]:
    """Return the answers of an exported row as a model gives them."""
    as_text = {"assistant": "{}", "function_call": "<tool_call>{}</tool_call>"}
    return [
        as_text[message["role"]].replace("{}", message["content"])
        for message in row["messages"]
        if message["role"] in as_text
    ]


@pytest.mark.parametrize(("dialogue", "task"), NAMES)
def test_what_is_trained_reads_as_the_actions_that_were_exported(
    dialogue: str, task: str, findings: dict[str, dict[str, Any]]
) -> None:
    found, turn_format = findings[f"{dialogue}-{task}"], options_of(dialogue).turn_format
    assert len(found["rows"]) == len(found["written"]) > 1
    kinds = set()
    for row, written in zip(found["rows"], found["written"], strict=True):
        trained = [text.strip() for text in row["answer"].split(END)]
        assert trained.pop() == ""  # the model learns where each answer ends
        expected = written_answers(written)
        assert len(trained) == len(expected) == (1 if task == "next-click" else len(expected))
        for text, source in zip(trained, expected, strict=True):
            action = turn_format.read(text, size_hw=SIZE_HW).action
            assert not isinstance(action, InvalidAction)
            assert action == turn_format.read(source, size_hw=SIZE_HW).action
            kinds.add(type(action))
    assert kinds == ({Click, Finish} if task == "next-click" else {Click, Finish} & kinds)


@pytest.mark.parametrize(("dialogue", "task"), NAMES)
def test_every_image_of_a_row_is_seen(
    dialogue: str, task: str, findings: dict[str, dict[str, Any]]
) -> None:
    found = findings[f"{dialogue}-{task}"]
    for row, written in zip(found["rows"], found["written"], strict=True):
        images = len(written["images"])
        assert (images == 1) == (task == "next-click") or images >= 1
        # Equal images of 200 x 100 px; a token for each 2 x 2 patches.
        patches = row["pixel_values"][0]
        assert row["image_tokens"] == patches // 4
        assert patches % images == 0
        assert patches // images == row["grid"][1] * row["grid"][2]


@pytest.mark.parametrize(("dialogue", "task"), NAMES)
def test_functions_and_the_question_are_in_the_prompt(
    dialogue: str, task: str, findings: dict[str, dict[str, Any]]
) -> None:
    functions = load_dialogue(dialogue).functions(Offer(finish=True))
    assert bool(functions) == (dialogue in ("tools", "medsam-agent"))
    found = findings[f"{dialogue}-{task}"]
    for row, written in zip(found["rows"], found["written"], strict=True):
        for part in written["messages"][0]["content"].split("<image>"):
            assert part in row["question"]
        for entry in json.loads(functions or "[]"):
            assert f'"name": "{entry["function"]["name"]}"' in row["question"]
