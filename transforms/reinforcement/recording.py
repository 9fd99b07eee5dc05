"""A checkpoint that samples answers and keeps what it was asked and wrote, as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.questions import Question
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles
from hlmat.transforms.policies.backends.checkpoint.generate import CheckpointAnswerer
from hlmat.transforms.policies.backends.checkpoint.loading import LoadedCheckpoint
from hlmat.transforms.policies.backends.options import CheckpointOptions
from hlmat.transforms.prompting.predicted_iou import split_predicted_iou


@dataclass(frozen=True, eq=False)
class Turn:
    """One question and the answer to it, as tokens.

    Attributes:
        target_id: of the question.
        prompt: tokens of the question. Shape: (P,).
        answer: tokens written, the one that ends the answer included. Shape: (A,).
        is_action: whether a token belongs to the action, not to a score before it. Shape: (A,).
        patches: of the image, as the processor gives them, a tensor. Shape: (patches, values).
        grid: the image's (frames, rows, columns) of patches.
    """

    target_id: str
    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]
    is_action: NDArray[np.bool_]
    patches: Any
    grid: tuple[int, int, int]


class RecordingAnswerer(CheckpointAnswerer):
    """Sample every answer at a temperature, with draws that depend on target, turn and round.

    Args:
        options: `temperature` is of the answers.
        files: of the checkpoint.
        checkpoint: its model may be trained meanwhile.

    Attributes:
        round: counted from 0; another round gives other draws.

    Raises:
        ConfigError: a processor that gives no grid of patches, as the Qwen-VL families' do.
    """

    def __init__(
        self, options: CheckpointOptions, *, files: CheckpointFiles, checkpoint: LoadedCheckpoint
    ) -> None:
        super().__init__(options, files=files, checkpoint=checkpoint)
        if self.seen_size((64, 64)) is None:
            raise ConfigError(
                [
                    f"{files.name}: its processor gives no grid of patches (image_grid_thw), which "
                    "hlmat rl needs to train on one image for each turn; use a model of the "
                    "Qwen-VL families"
                ]
            )
        config = checkpoint.model.config
        marks = [getattr(config, name, None) for name in ("image_token_id", "video_token_id")]
        # An answer with a mark would be read with an image too few when it is learned.
        self._unwanted = [*(self._unwanted or []), *(mark for mark in marks if mark is not None)]
        self.round = 0
        self._turns: list[Turn] = []

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Sample an answer to each question; see `CheckpointAnswerer.answer`."""
        temperature = self._options.temperature
        return super().answer(
            [replace(q, draw=self.round + 1, temperature=temperature) for q in questions]
        )

    def take(self) -> list[Turn]:
        """Return the turns since the last call, in the order in which they were asked."""
        taken, self._turns = self._turns, []
        return taken

    def _note(self, questions: Sequence[Question], inputs: Any, written: Any) -> None:
        grids = inputs["image_grid_thw"].cpu()
        patches = inputs["pixel_values"].cpu().split(grids.prod(dim=1).tolist())
        prompts, masks = inputs["input_ids"].cpu().numpy(), inputs["attention_mask"].cpu().numpy()
        stops = np.array(self._checkpoint.stop_ids)
        for row, question in enumerate(questions):
            tokens = written[row].cpu().numpy()
            ends = np.flatnonzero(np.isin(tokens, stops))
            answer = tokens[: ends[0] + 1] if len(ends) else tokens
            frames, rows, columns = (int(n) for n in grids[row])
            self._turns.append(
                Turn(
                    target_id=question.target_id,
                    prompt=prompts[row][masks[row].astype(bool)],
                    answer=answer,
                    is_action=self._is_action(answer),
                    patches=patches[row].clone(),
                    grid=(frames, rows, columns),
                )
            )

    def _is_action(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which tokens of an answer come after a score at its beginning, if it has one."""
        text = self._decode(tokens.tolist())
        try:
            action = split_predicted_iou(text)[1]
        except ValueError:  # a score above 100 percent: an invalid answer as a whole
            action = text
        start = len(text) - len(action)
        lengths = [len(self._decode(tokens[:k].tolist())) for k in range(1, len(tokens) + 1)]
        return np.array([length > start for length in lengths], dtype=bool)
