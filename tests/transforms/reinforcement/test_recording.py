"""A tiny checkpoint whose sampled answers are kept as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoint_cases import cpu_options, questions
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.checkpoint.files import find_checkpoint
from hlmat.transforms.policies.backends.checkpoint.loading import load_checkpoint
from hlmat.transforms.reinforcement.recording import RecordingAnswerer
from tiny_models import make_tiny_model

pytestmark = pytest.mark.slow


def recording(folder: str) -> RecordingAnswerer:
    files = find_checkpoint(folder)
    checkpoint = load_checkpoint(files, device="cpu", dtype="float32")
    options = cpu_options(folder, temperature=1.0)
    return RecordingAnswerer(options, files=files, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> RecordingAnswerer:
    return recording(make_tiny_model("qwen3_vl", tmp_path_factory.mktemp("tiny") / "model"))


def decoded(answerer: RecordingAnswerer, tokens: Any) -> str:
    return answerer._decode(np.asarray(tokens).tolist())


def test_answers_are_kept_as_the_tokens_that_were_written(answerer: RecordingAnswerer) -> None:
    asked = questions(3)
    answerer.round = 0
    texts = answerer.answer(asked)
    turns = answerer.take()
    assert [turn.target_id for turn in turns] == [question.target_id for question in asked]
    assert [decoded(answerer, turn.answer) for turn in turns] == [str(text) for text in texts]
    for turn, question in zip(turns, asked, strict=True):
        assert question.text.replace("<image>", "") in decoded(answerer, turn.prompt)
        assert len(turn.patches) == np.prod(turn.grid)
        assert turn.is_action.all()
        marks = answerer._checkpoint.model.config.image_token_id
        assert marks not in turn.answer
        assert (turn.prompt == marks).sum() == np.prod(turn.grid) // 4
    assert answerer.take() == []


def test_a_round_has_its_own_draws_and_always_the_same(answerer: RecordingAnswerer) -> None:
    answers = []
    for number in (0, 1, 0):
        answerer.round = number
        answers.append(answerer.answer(questions(3)))
    assert answers[0] == answers[2] != answers[1]


def test_a_score_before_the_action_is_not_part_of_it(answerer: RecordingAnswerer) -> None:
    encode = answerer._checkpoint.processor.tokenizer.encode
    score, action = encode("Current IOU: 85.2, "), encode("Finish")
    kept = answerer._is_action(np.array([*score, *action]))
    assert "".join(decoded(answerer, np.array([*score, *action])[kept])) == "Finish"
    # An impossible score makes the whole answer invalid.
    assert answerer._is_action(np.array(encode("Current IOU: 185.2, Finish"))).all()


def test_a_model_without_a_grid_of_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gives no grid of patches .* Qwen-VL families"):
        recording(make_tiny_model("llava", tmp_path / "llava"))
