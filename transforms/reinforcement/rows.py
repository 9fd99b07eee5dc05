"""Turns of rollouts as the tensors that TRL's `GRPOTrainer` learns from: one row per turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlmat.transforms.reinforcement.recording import Turn
from hlmat.transforms.reinforcement.rollouts import Rollout


def rows_of(rollouts: Sequence[Rollout], *, pad_id: int, multiple: int = 1) -> dict[str, Any]:
    """Return one row per turn, with the advantage of its whole rollout.

    Every turn is a question of its own with the image of its state, so a row has one image.

    Args:
        rollouts: at least one with a turn.
        pad_id: the padding token.
        multiple: rows are filled up to a multiple of this number with copies of the first row that
            count nothing.

    Returns:
        `prompt_ids` and `prompt_mask`, padded on the left, (N, P); `completion_ids` and
        `completion_mask`, padded on the right, (N, A); `tool_mask` (N, A), 1 for the tokens that
        are learned: those of the action; `advantages` (N,), float32; `num_items_in_batch`, how many
        tokens are learned; `pixel_values`, the patches of all images; `image_grid_thw` (N, 3);
        `num_images`, a list of ones.

    Raises:
        ValueError: no turn.
    """
    import torch

    turns: list[tuple[Turn, float]] = [
        (turn, rollout.advantage) for rollout in rollouts for turn in rollout.turns
    ]
    if not turns:
        raise ValueError("no turn to learn from")
    counted = [1] * len(turns)
    filling = -len(turns) % multiple
    turns += turns[:1] * filling
    counted += [0] * filling
    prompts = [torch.from_numpy(turn.prompt) for turn, _ in turns]
    answers = [torch.from_numpy(turn.answer) for turn, _ in turns]
    learned = [
        torch.from_numpy(turn.is_action).long() * counts
        for (turn, _), counts in zip(turns, counted, strict=True)
    ]
    tool_mask = _padded(learned, 0, left=False)
    return {
        "prompt_ids": _padded(prompts, pad_id, left=True),
        "prompt_mask": _padded([torch.ones_like(p) for p in prompts], 0, left=True),
        "completion_ids": _padded(answers, pad_id, left=False),
        "completion_mask": _padded([torch.ones_like(a) for a in answers], 0, left=False),
        "tool_mask": tool_mask,
        "advantages": torch.tensor([advantage for _, advantage in turns], dtype=torch.float32),
        "num_items_in_batch": tool_mask.sum(),
        "pixel_values": torch.cat([turn.patches for turn, _ in turns]),
        "image_grid_thw": torch.tensor([turn.grid for turn, _ in turns]),
        "num_images": [1] * len(turns),
    }


def _padded(sequences: Sequence[Any], value: int, *, left: bool) -> Any:
    """Stack sequences of different lengths."""
    import torch

    longest = max(len(sequence) for sequence in sequences)
    result = torch.full((len(sequences), longest), value, dtype=torch.long)
    for row, sequence in zip(result, sequences, strict=True):
        if left:
            row[longest - len(sequence) :] = sequence
        else:
            row[: len(sequence)] = sequence
    return result
