from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hlmat.export.llama_factory.samples import cases_of
from hlmat.export.llama_factory.tasks.next_click import decisions
from hlmat.export.llama_factory.tasks.registry import TASKS
from hlmat.export.llama_factory.writer import (
    ExportCounts,
    LlamaFactoryOptions,
    export_next_click,
    export_task,
)
from hlmat.transforms.core.errors import ConfigError, OutputError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import (
    Box,
    Click,
    Finish,
    InvalidAction,
    RejectReason,
    StopReason,
)
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.dialogues.registry import load_dialogue, prompt_of
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.templates import PromptTemplate
from llama_factory_scripts import printed_by
from trajectory_cases import HALF, load_image, make_trajectory, thousandths

FOLDER = Path(__file__).parent

NEEDS_LLAMA_FACTORY = pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)


def read_rows(out: Path, name: str = "next_click") -> list[dict[str, Any]]:
    return json.loads((out / f"{name}.json").read_text())


def answers(out: Path) -> list[str]:
    return [row["messages"][1]["content"] for row in read_rows(out)]


def test_each_expression_of_each_state_is_a_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = export_next_click([make_trajectory()], load_image, str(out), thousandths())
    assert counts == ExportCounts(samples=4, images=2, targets=1, targets_without_samples=0)
    assert answers(out) == [
        "Positive point: (502, 505)",
        "Positive point: (502, 505)",
        "Negative point: (997, 995)",
        "Negative point: (997, 995)",
    ]
    rows = read_rows(out)
    assert "left cup" in rows[0]["messages"][0]["content"]
    # an expression is never read as a mark or a placeholder
    assert "an < image > of {colour}" in rows[1]["messages"][0]["content"]
    assert [row["images"] for row in rows[:2]] == [rows[0]["images"]] * 2
    assert rows[0]["images"] != rows[2]["images"]
    assert (rows[0]["target_id"], rows[0]["step"]) == ("t/1 #é", 0)


def test_the_first_expression_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_next_click([make_trajectory()], load_image, str(out), thousandths(expressions="first"))
    assert len(read_rows(out)) == 2


def test_the_box_is_asked_for_once_of_the_image_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = thousandths(box_prompt=PromptTemplate("<image>box of {expression}"))
    shown = make_trajectory("t2", boxed=True)
    export_next_click([make_trajectory(), shown], load_image, str(out), options)
    boxes = [r for r in read_rows(out) if "box of" in r["messages"][0]["content"]]
    assert [r["messages"][1]["content"] for r in boxes] == ["Box: (252, 205), (747, 795)"] * 4
    assert [r["target_id"] for r in boxes] == ["t/1 #é"] * 2 + ["t2"] * 2
    assert len({r["images"][0] for r in boxes}) == 1


def test_scores_of_the_mask_shown_stand_before_the_action(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = thousandths(turn_format={"with_score": True}, expressions="first")
    export_next_click([make_trajectory()], load_image, str(out), options)
    assert answers(out) == [
        "Current IOU: 0.0, Positive point: (502, 505)",
        "Current IOU: 50.0, Negative point: (997, 995)",
    ]


def test_further_files_come_with_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    records = {"export.json": lambda: b"{}"}
    export_next_click([make_trajectory()], load_image, str(out), records=records)
    assert (out / "export.json").read_bytes() == b"{}"


def test_images_show_the_state_before_the_click(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_next_click([make_trajectory()], load_image, str(out), thousandths(image_format="png"))
    rows = read_rows(out)
    images = [cv2.imread(str(out / rows[i]["images"][0])) for i in (0, 2)]
    first, second = (np.asarray(p)[..., ::-1] for p in images)
    assert (first == 100).all()
    assert second[50, 120].tolist() == [50, 178, 50]
    assert (second[~HALF] == 100).all()


def test_names_are_plain_ascii_and_the_same_in_every_export(tmp_path: Path) -> None:
    for out in ("a", "b"):
        export_next_click([make_trajectory()], load_image, str(tmp_path / out))
    trees = [
        {
            str(path.relative_to(tmp_path / out)): path.read_bytes()
            for path in (tmp_path / out).rglob("*")
            if path.is_file()
        }
        for out in ("a", "b")
    ]
    assert trees[0] == trees[1]
    assert all(name.isascii() and " " not in name for name in trees[0])


def test_the_files_are_those_of_earlier_versions(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = thousandths(
        turn_format={"with_finish": True, "with_score": True},
        box_prompt=PromptTemplate("<image>box of {expression}"),
        image_format="png",
        view=StateView(max_side=100),
    )
    trajectories = [
        make_trajectory(),
        make_trajectory("t2", boxed=True),
        make_trajectory("t3", image_path="b", stop_reason=StopReason.MAX_CLICKS),
    ]
    export_next_click(trajectories, load_image, str(out), options)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert len(names) == 8
    contents = {
        "rows": (out / "next_click.json").read_bytes(),
        "info": (out / "dataset_info.json").read_bytes(),
        "names": json.dumps(names).encode(),
    }
    assert {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()} == {
        "rows": "f52be55e4580f9513b7cb3871e145124df864270a150c9f48a5c1a0e92cd82bb",
        "info": "ab7ddb1e6028729f4ce350326cf449877cecb4685e5447a6569a0d6f27e164be",
        "names": "3e41abfad0828f653666bff92d267e87494340182d1f588ee21e7a6a3c8cb629",
    }


def test_the_bare_image_is_rendered_once_for_all_targets_of_an_image(tmp_path: Path) -> None:
    loads = []

    def counting(image_path: str, *, size_hw: tuple[int, int]) -> Image:
        loads.append(image_path)
        return load_image(image_path, size_hw=size_hw)

    targets = [make_trajectory("t1"), make_trajectory("t2"), make_trajectory("t3", image_path="b")]
    counts = export_next_click(targets, counting, str(tmp_path / "out"))
    assert counts.images == 2 + 3
    assert loads == ["a/1#x é.jpg", "b"]


def test_a_box_sets_up_a_state_but_is_no_sample(tmp_path: Path) -> None:
    samples = list(decisions(make_trajectory(boxed=True)))
    assert [(s.step, s.iou) for s in samples] == [(1, 0.5), (2, 0.5)]


@pytest.mark.parametrize(
    ("reason", "finishes"),
    [
        (StopReason.REACHED_IOU, True),
        (StopReason.NO_GAIN, True),
        (StopReason.NO_ERROR_LEFT, True),
        (StopReason.FINISHED, True),
        (StopReason.MAX_CLICKS, False),  # more clicks would have helped
        (StopReason.INVALID_ACTION, False),  # says nothing about the mask
        (StopReason.REACHED_SCORE, False),  # a model thought so
        (StopReason.UNRECORDED, False),  # not known to be done
    ],
)
def test_finish_is_learnt_where_nothing_better_was_to_be_had(
    reason: StopReason, finishes: bool
) -> None:
    samples = list(decisions(make_trajectory(stop_reason=reason), Offer(finish=True)))
    assert [s.action for s in samples[2:]] == ([Finish()] if finishes else [])


def test_finish_and_score_are_written_if_the_turn_format_has_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = thousandths(
        turn_format={"with_finish": True, "with_score": True}, expressions="first", name="scored"
    )
    export_next_click([make_trajectory()], load_image, str(out), options)
    assert [row["messages"][1]["content"] for row in read_rows(out, "scored")] == [
        "Current IOU: 0.0, Positive point: (502, 505)",
        "Current IOU: 50.0, Negative point: (997, 995)",
        "Current IOU: 100.0, Finish",
    ]


@pytest.mark.parametrize(
    ("codec", "answer"),
    [
        ("decimal", "Positive point: (0.502, 0.505)"),  # of the original, as without reduction
        ("pixels", "Positive point: (50, 25)"),  # of the reduced image
    ],
)
def test_reduced_images_keep_relative_and_move_pixel_coordinates(
    codec: str, answer: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = LlamaFactoryOptions(
        turn_format=TurnFormat(build_codec(codec)), view=StateView(max_side=100)
    )
    export_next_click([make_trajectory()], load_image, str(out), options)
    assert answers(out)[0] == answer
    image = cv2.imread(str(out / read_rows(out)[0]["images"][0]))
    assert image is not None
    assert image.shape == (50, 100, 3)


def test_options_report_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        LlamaFactoryOptions(
            expressions="all",  # pyright: ignore[reportArgumentType]
            image_format="webp",  # pyright: ignore[reportArgumentType]
            jpeg_quality=0,
            name="../x",
        )
    assert caught.value.problems == (
        "LlamaFactoryOptions.expressions 'all': choose from each, first",
        "LlamaFactoryOptions.image_format 'webp': choose from jpg, png",
        "LlamaFactoryOptions.jpeg_quality 0: must be from 1 to 100",
        "LlamaFactoryOptions.name '../x': expected a data set's name of letters, digits, "
        "'_' and '-'",
    )


def test_the_question_names_the_color_of_the_images() -> None:
    with pytest.raises(ConfigError) as caught:
        LlamaFactoryOptions(turn_format=TurnFormat(build_codec("decimal"), colour="pink"))
    assert "the question names a pink mask, the images show a green one" in str(caught.value)


def test_a_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(OutputError, match="exists already and is not an empty folder"):
        export_next_click([make_trajectory()], load_image, str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_next_click([make_trajectory()], load_image, str(out))
    assert (out / "dataset_info.json").is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write the data set .*file/out.*give a folder"):
        export_next_click([make_trajectory()], load_image, str(tmp_path / "file" / "out"))


def test_nothing_to_learn_is_an_error(tmp_path: Path) -> None:
    trajectory = dataclasses.replace(make_trajectory(), steps=())
    with pytest.raises(OutputError, match="none of the 1 trajectories holds a sample"):
        export_next_click([trajectory], load_image, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_image_ends_the_export_and_leaves_nothing(tmp_path: Path) -> None:
    def failing(image_path: str, *, size_hw: tuple[int, int]) -> Image:
        if image_path == "b":
            raise TargetError(RejectReason.MISSING_IMAGE, "b is not there")
        return load_image(image_path, size_hw=size_hw)

    targets = [make_trajectory(), make_trajectory("t2", image_path="b")]
    with pytest.raises(TargetError, match="b is not there"):
        export_next_click(targets, failing, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hlmat.export.llama_factory.writer.os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot write the data set .*No space left"):
        export_next_click([make_trajectory()], load_image, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@NEEDS_LLAMA_FACTORY
@pytest.mark.slow
def test_llama_factory_loads_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    targets = [make_trajectory("t1"), make_trajectory("t2", image_path="b", boxed=True)]
    options = thousandths(turn_format={"with_finish": True}, view=StateView(max_side=150))
    counts = export_next_click(targets, load_image, str(out), options)
    rows = loaded(out, options.name, cache=tmp_path)
    assert len(rows) == counts.samples == 12
    for row, written in zip(rows, read_rows(out), strict=True):
        question, answer = written["messages"]
        assert row["_prompt"] == [question]
        assert row["_response"] == [answer]
        assert row["_images"] == [str(out / written["images"][0])]
        assert row["sizes"] == [["RGB", 150, 75]]


@NEEDS_LLAMA_FACTORY
@pytest.mark.slow
@pytest.mark.parametrize("task", ["next-click", "multi-turn"])
def test_llama_factory_loads_calls_of_functions(tmp_path: Path, task: str) -> None:
    out = tmp_path / "out"
    tools = load_dialogue("tools")
    options = thousandths(
        turn_format={
            "with_finish": True,
            "dialogue": tools,
            "prompt": prompt_of(tools, Offer(finish=True)),
        }
    )
    cases = cases_of([make_trajectory("t1")])
    counts = export_task(TASKS[task], cases, load_image, str(out), options=options)
    rows = loaded(out, options.name, cache=tmp_path)
    assert len(rows) == counts.samples
    for row, written in zip(rows, read_rows(out), strict=True):
        names = [f["function"]["name"] for f in json.loads(row["_tools"])]
        assert names == ["add_point", "stop"]
        assert row["_response"][0]["role"] == "function"
        roles = [message["role"] for message in row["_prompt"]]
        turns = len(written["images"])
        assert roles == (["user"] + ["function", "observation"] * (turns - 1))
        calls = [m for m in [*row["_prompt"], *row["_response"]] if m["role"] == "function"]
        said = {json.loads(call["content"])["name"] for call in calls}
        assert said <= {"add_point", "stop"}
        texts = [f"<tool_call>{call['content']}</tool_call>" for call in calls]
        read = [options.turn_format.read(text, size_hw=(100, 200)).action for text in texts]
        assert not any(isinstance(action, InvalidAction) for action in read)


@NEEDS_LLAMA_FACTORY
@pytest.mark.slow
@pytest.mark.parametrize("name", ["tools", "medsam-agent"])
def test_calls_are_read_as_llama_factorys_templates_write_them(name: str, tmp_path: Path) -> None:
    dialogue = load_dialogue(name)
    codec = build_codec(dialogue.codec)
    places = [(x, y) for x in (0, 1, 99, 199) for y in (0, 50, 99)]
    actions = [Click(x, y, positive) for x, y in places for positive in (True, False)]
    actions += [Box(0, 0, 200, 100), Finish()]
    texts = [dialogue.write(action, size_hw=(100, 200), codec=codec) for action in actions]
    asked = {
        # of the templates qwen2_vl and qwen3_vl, qwen3_5, glm4_5v
        "formats": ["qwen", "qwen3_5", "glm4_moe"],
        "contents": [dialogue.message(text).content for text in texts],
    }
    written = printed_by(FOLDER / "call_with_llama_factory.py", json.dumps(asked), cache=tmp_path)
    for tool_format in asked["formats"]:
        read = [
            dialogue.read(text, size_hw=(100, 200), codec=codec).action
            for text in written[tool_format]
        ]
        assert read == actions


def loaded(out: Path, name: str, *, cache: Path) -> list[dict[str, Any]]:
    """Return the rows as LLaMA-Factory loads them."""
    arguments = (str(out), name, str(cache / "cache"))
    return printed_by(FOLDER / "load_with_llama_factory.py", *arguments, cache=cache)
