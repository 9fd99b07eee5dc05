"""Recorded answers: read from either kind of file, given back by target and turn."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import AnswerError, DataError
from hlmat.transforms.core.questions import Question
from hlmat.transforms.policies.backends.replay import load_replay

IMAGE = np.zeros((2, 2, 3), np.uint8)


def question(target_id: str, turn: int) -> Question:
    return Question(target_id, turn, IMAGE, "<image>it?")


def test_json_lines_are_given_back_by_target_and_turn(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"target_id": "a@0", "answers": ["one", "two"]}\n\n{"target_id": "b", "answers": ["é"]}\n'
    )
    replay = load_replay(str(path))
    asked = [question("b", 0), question("a@0", 1), question("a@0", 0)]
    assert replay.answer(asked) == ["é", "two", "one"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert replay.identity() == {"answers_sha256": digest}


def test_predictions_give_their_outputs_and_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    steps = [{"outputs": "click"}, {"outputs": "again"}]
    entries = [
        {"target_id": "a", "pred_list": steps, "last_output": "Finish"},
        {"target_id": "b", "pred_list": [], "last_output": None},
    ]
    path.write_text(json.dumps(entries))
    replay = load_replay(str(path))
    assert replay.answer([question("a", k) for k in range(3)]) == ["click", "again", "Finish"]
    with pytest.raises(AnswerError, match=r"holds 0 answers about 'b', but number 1 is needed"):
        replay.answer([question("b", 0)])
    with pytest.raises(AnswerError, match=r"has no answers about 'c'; evaluate the recorded"):
        replay.answer([question("c", 0)])


def test_a_step_that_no_model_was_asked_about_is_no_turn(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    boxed = {"outputs": None, "is_initial": True}
    drawn = {"outputs": "Box", "is_initial": True}
    click = {"outputs": "click", "is_initial": False}
    entries = [
        {"target_id": "a", "pred_list": [boxed, click], "last_output": "Finish"},
        {"target_id": "b", "pred_list": [drawn, click]},
    ]
    path.write_text(json.dumps(entries))
    replay = load_replay(str(path))
    asked = [question(target_id, turn) for target_id in "ab" for turn in (0, 1)]
    assert replay.answer(asked) == ["click", "Finish", "Box", "click"]


@given(
    answers=st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.lists(st.text(st.characters(codec="utf-8")))
    )
)
def test_any_text_is_given_back(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[str, list[str]]
) -> None:
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    lines = [
        json.dumps({"target_id": name, "answers": texts}, ensure_ascii=False) + "\n"
        for name, texts in answers.items()
    ]
    path.write_bytes("".join(lines).encode())
    replay = load_replay(str(path))
    for name, texts in answers.items():
        assert replay.answer([question(name, k) for k in range(len(texts))]) == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"answers": ' + "[" * 100_000, "line 1 is not JSON"),
        ('{"target_id": "a", "answers": []}\nnonsense', "line 2 is not JSON"),
        ('{"answers": []}', "line 1 has no target_id"),
        ('[{"target_id": "a"}]', "entry 0 has neither answers nor a pred_list"),
        ('{"target_id": "a", "answers": "yes"}', "line 1: the answers must be a list of texts"),
        ('[{"target_id": "a", "pred_list": [{"outputs": null}]}]', "must be a list of texts"),
        ('{"target_id": "a", "answers": []}\n{"target_id": "a", "answers": []}', "occurs twice"),
    ],
)
def test_a_damaged_record_is_reported(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "answers"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load_replay(str(path))


def test_a_record_that_is_no_text_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"target_id": "a", "answers": ["\xff"]}')
    with pytest.raises(DataError, match="is not UTF-8"):
        load_replay(str(path))


def test_a_missing_record_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_replay(str(tmp_path / "none.json"))
