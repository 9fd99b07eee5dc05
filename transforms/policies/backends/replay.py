"""Replay recorded answers, to evaluate again without the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.transforms.core.errors import AnswerError, DataError
from hlmat.transforms.core.questions import Question


class ReplayAnswerer:
    """Answer a target's n-th question with its n-th recorded text.

    Args:
        answers: the texts of each target, by target id.
        source: their origin, for messages.
        digest: sha256 of the record, for the fingerprint.
    """

    def __init__(
        self, answers: Mapping[str, Sequence[str]], *, source: str = "the record", digest: str = ""
    ) -> None:
        self._answers = answers
        self._source = source
        self._digest = digest

    def identity(self) -> Mapping[str, str]:
        """Return the digest of the record."""
        return {"answers_sha256": self._digest}

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return the recorded text of each question.

        Raises:
            AnswerError: a question has no recorded answer.
        """
        return [self._answer_one(question) for question in questions]

    def _answer_one(self, question: Question) -> str:
        if question.draw:
            raise AnswerError(
                f"{self._source} holds one answer per question, but a search needs several; "
                "evaluate the model itself"
            )
        texts = self._answers.get(question.target_id)
        if texts is None:
            raise AnswerError(
                f"{self._source} has no answers about {question.target_id!r}; evaluate the "
                "recorded data set and split, with the same --expressions"
            )
        if question.turn >= len(texts):
            raise AnswerError(
                f"{self._source} holds {len(texts)} answers about {question.target_id!r}, but "
                f"number {question.turn + 1} is needed; use the recorded run's segmenter, "
                "--max-clicks and prompts"
            )
        return texts[question.turn]


def load_replay(path: str) -> ReplayAnswerer:
    """Read recorded answers.

    Args:
        path: JSON lines of ``{"target_id": ..., "answers": [...]}``, or a predictions.json with
            target ids, as `hlmat evaluate` writes it. Initial steps without a question to the model
            do not count as turns.

    Raises:
        DataError: the file is missing or has another format.
    """
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as error:
        raise DataError(f"--answers {path} cannot be read: {error}; name another file") from error
    entries = _entries(path, data)
    answers: dict[str, list[str]] = {}
    for place, entry in entries:
        target_id, texts = _read_entry(f"{path}, {place}", entry)
        if target_id in answers:
            raise DataError(f"{path}, {place}: target {target_id!r} occurs twice; keep one of them")
        answers[target_id] = texts
    return ReplayAnswerer(answers, source=path, digest=hashlib.sha256(data).hexdigest())


def _entries(path: str, data: bytes) -> list[tuple[str, Any]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}); record the answers again") from error
    if text.lstrip().startswith("["):
        try:
            return [(f"entry {k}", entry) for k, entry in enumerate(json.loads(text))]
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON ({error}); record the answers again") from error
    entries = []
    # Not splitlines: a JSON string may contain other line breaks of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append((f"line {number}", json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number} is not JSON ({error}); expected "
                '{"target_id": "...", "answers": ["..."]}'
            ) from error
    return entries


def _read_entry(place: str, entry: Any) -> tuple[str, list[str]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("target_id"), str):
        raise DataError(
            f"{place} has no target_id; expected answers recorded by hlmat, with a text "
            "`target_id` in every entry"
        )
    if "answers" in entry:
        texts = entry["answers"]
    else:
        steps = entry.get("pred_list")
        if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
            raise DataError(
                f"{place} has neither answers nor a pred_list of steps; record the answers again"
            )
        texts = [step.get("outputs") for step in steps if not _is_unasked(step)]
        last = entry.get("last_output")
        texts += [] if last is None else [last]
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise DataError(
            f"{place}: the answers must be a list of texts, got {str(texts)[:80]}; record the "
            "answers again"
        )
    return entry["target_id"], texts


def _is_unasked(step: dict[str, Any]) -> bool:
    """Return whether a step is an initial one from the truth; a model's box is an answer."""
    return step.get("is_initial") is True and step.get("outputs") is None
