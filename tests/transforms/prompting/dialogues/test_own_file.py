"""Dialogues in a file of the user's own: they are used like others, and say what is wrong."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Click, Finish, InvalidAction
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.dialogues.registry import load_dialogue, prompt_of
from repository import REPOSITORY

SIZE = (480, 640)
CODEC = build_codec("zero_to_1000")

SOURCE = """
from dataclasses import dataclass

from hlmat.transforms.core.records import Answer, Click, Finish
from hlmat.transforms.prompting.dialogues import Dialogue


@dataclass(frozen=True)
class Shout(Dialogue):
    name = "shout"
    codec = "zero_to_1000"

    def prompt(self, offer):
        return "<image>WHERE IS {expression}?"

    def write(self, action, *, size_hw, codec, iou=None):
        if isinstance(action, Finish):
            return "DONE!"
        sign = "+" if action.is_positive else "-"
        return " ".join([sign, *codec.numbers(action.x, action.y, size_hw=size_hw)]) + "!"

    def read(self, text, *, size_hw, codec):
        if text == "DONE!":
            return Answer(text, Finish())
        if text == "BUG!":
            return 1 / 0
        if text == "NOTHING!":
            return None
        sign, x, y = text.removesuffix("!").split(" ")
        x, y = codec.pixel(x, y, size_hw=size_hw)
        return Answer(text, Click(x, y, sign == "+"))


class NotOne:
    pass


class NeedsMore(Shout):
    def __init__(self, size):
        pass
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(SOURCE)
    return str(path)


def test_a_class_in_a_file_is_a_dialogue(own: str) -> None:
    dialogue = load_dialogue(f"{own}:Shout")
    assert (dialogue.name, dialogue.codec, dialogue.has_score) == ("shout", CODEC.name, False)
    question = prompt_of(dialogue, Offer()).render(expression="it", colour="", coordinates="")
    assert question == "<image>WHERE IS it?"
    for action in (Click(3, 4, True), Click(639, 479, False), Finish()):
        text = dialogue.write(action, size_hw=SIZE, codec=CODEC)
        assert dialogue.read(text, size_hw=SIZE, codec=CODEC).action == action
    assert dialogue.message("DONE!").role == "assistant"
    assert (dialogue.system(Offer()), dialogue.functions(Offer())) == ("", "")


def test_a_value_error_is_the_reason_of_an_invalid_answer(own: str) -> None:
    read = load_dialogue(f"{own}:Shout").read("+ 1001 0!", size_hw=SIZE, codec=CODEC)
    assert read.action == InvalidAction("+ 1001 0!", "x is 1001, expected 0 to 1000")


def test_it_travels_to_other_processes_by_its_path(own: str) -> None:
    dialogue = load_dialogue(f"{own}:Shout")
    assert pickle.loads(pickle.dumps(dialogue)) == dialogue
    assert b"WHERE" not in pickle.dumps(dialogue)


def test_the_content_of_the_file_determines_it_not_its_place(own: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "own.py"
    copy.write_text(SOURCE)
    identity = load_dialogue(f"{own}:Shout").identity()
    assert load_dialogue(f"{copy}:Shout").identity() == identity
    copy.write_text(SOURCE + "# changed\n")
    assert load_dialogue(f"{copy}:Shout").identity() != identity


def test_a_relative_path_is_one_from_the_working_folder(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(own).parent)
    assert load_dialogue("own.py:Shout") == load_dialogue(f"{own}:Shout")


def test_a_file_that_changes_during_a_run_is_refused(own: str) -> None:
    travelled = pickle.dumps(load_dialogue(f"{own}:Shout"))
    Path(own).write_text(SOURCE + "# other\n")
    load_dialogue(f"{own}:Shout")
    for _ in range(9):  # until what was loaded before is forgotten
        Path(own).write_text(Path(own).read_text() + "#\n")
        load_dialogue(f"{own}:Shout")
    with pytest.raises(ConfigError, match="the file has changed since the run began"):
        pickle.loads(travelled).write(Finish(), size_hw=SIZE, codec=CODEC)


@pytest.mark.parametrize(
    ("spelled", "problem"),
    [
        ("missing.py:Shout", r"the file cannot be read \(No such file or directory\); name a"),
        ("own.py:Shoud", "the file has no class 'Shoud'; did you mean 'Shout'?"),
        ("own.py:NotOne", "the class lacks prompt, write, read, name; inherit from hlmat"),
        ("own.py:NeedsMore", "making the class failed: TypeError: .* it must need no arguments"),
        ("own.txt:Shout", "expected FILE.py:Class, such as mine.py:MyDialogue"),
        ("own.py:no class", "expected FILE.py:Class"),
        ("broken.py:Shout", "importing it failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    own: str, monkeypatch: pytest.MonkeyPatch, spelled: str, problem: str
) -> None:
    monkeypatch.chdir(Path(own).parent)
    Path("broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=problem):
        load_dialogue(spelled)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("BUG!", "own.py:Shout: read failed: ZeroDivisionError: division by zero"),
        ("NOTHING!", "own.py:Shout: read returned NoneType, expected Answer; fix the class"),
    ],
)
def test_a_fault_of_the_class_is_no_invalid_answer(own: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_dialogue(f"{own}:Shout").read(text, size_hw=SIZE, codec=CODEC)


def test_the_class_of_the_documentation_is_one(tmp_path: Path) -> None:
    document = (REPOSITORY / "docs" / "dialogues.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    path = tmp_path / "signs.py"
    path.write_text(source)
    dialogue = load_dialogue(f"{path}:Signs")
    prompt_of(dialogue, Offer())
    for action in (Click(3, 4, True), Click(639, 479, False), Finish()):
        text = dialogue.write(action, size_hw=SIZE, codec=CODEC)
        assert dialogue.read(text, size_hw=SIZE, codec=CODEC).action == action
    read = dialogue.read("left of it", size_hw=SIZE, codec=CODEC).action
    assert read == InvalidAction("left of it", "expected + x y, - x y or end")
