"""Batches of labelled scenes as tensors: mirrored, with masks drawn in, texts tokenised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.overlay import draw_mask
from hlmat.transforms.tiny_vlm.conversation import Conversation
from hlmat.transforms.tiny_vlm.scenes import ANGLES, FINISH, MASKS, LabelledScenes

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The class of what a cell does not have; the loss leaves it out."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the processor `Qwen2VLImageProcessor`, by channel."""

_COVERED_SHARE = 0.3
_SECOND_DIGIT_WEIGHT = 0.3
_LATER_DIGIT_WEIGHT = 0.3
"""Of a score's digits after the first, the point included."""


class Batch(NamedTuple):
    """B scenes of C cells with T texts of at most L tokens, as tensors.

    Attributes:
        pixels: float, the normalised patches in row-major order. Shape: (B, C, 3 * patch ** 2).
        classes: int64, by cell: colour (0 is no object), kind, pattern, action, four digits;
            `IGNORED` where there is none. Shape: (B, C, 8).
        owners: int64, by cell: the object there plus one, or 0. Shape: (B, C).
        reach: float, by cell: the outline of the object there. Shape: (B, C, ANGLES).
        texts: int64: expression, what stands between, and answer. Shape: (B, T, L).
        targets: int64, the object that a text names; -1 for none. Shape: (B, T).
        starts: int64, where the actions of the answers begin. Shape: (B, T).
        weights: float, how much each token of the answers counts in the loss; 0 for the tokens
            before them and after their end. Shape: (B, T, L).
    """

    pixels: torch.Tensor
    classes: torch.Tensor
    owners: torch.Tensor
    reach: torch.Tensor
    texts: torch.Tensor
    targets: torch.Tensor
    starts: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches.

    Attributes:
        patch: side of a cell in pixels; divides the side of the scenes.
        conversation: the tokens around texts.
        codec: writes two decimals per axis.
        mirrored_words: each token's counterpart in an image mirrored left to right, and top to
            bottom. Shape: (vocabulary,) each.
        scores: whether an answer begins with the IoU of the mask shown.
    """

    patch: int
    conversation: Conversation
    codec: CoordinateCodec
    mirrored_words: tuple[NDArray[np.int64], NDArray[np.int64]]
    scores: bool = False

    def make(
        self,
        scenes: LabelledScenes,
        chosen: NDArray[np.int64],
        *,
        texts: int,
        mask_share: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Return scenes as a batch.

        Args:
            scenes: where they come from.
            chosen: their indices.
            texts: texts of each scene, at most; 0 for none.
            mask_share: the share of scenes that show a mask.
            rng: chooses the mirrored scenes, those with a mask, which mask, and the texts; None
                mirrors none, shows masks in the first scenes, and takes the first texts.

        With scores and texts, any of a scene's masks may be shown; otherwise the first.
        """
        import torch

        count = len(chosen)
        which = np.zeros(count, np.int64)
        is_any = self.scores and texts > 0
        if rng is None:
            flips = np.zeros((count, 2), bool)
            with_mask = np.arange(count) < round(mask_share * count)
            which = np.arange(count) % MASKS if is_any else which
        else:
            flips = rng.random((count, 2)) < 0.5
            with_mask = rng.random(count) < mask_share
            which = rng.integers(MASKS, size=count) if is_any else which
        shown = np.where(with_mask, which + 1, 0)
        views = [
            self._view(scenes, int(i), (bool(f[0]), bool(f[1])), shown=int(m))
            for i, f, m in zip(chosen, flips, shown, strict=True)
        ]
        pixels, labels, facts, reach = (np.stack(column) for column in zip(*views, strict=True))
        side, cells = labels.shape[1] // self.patch, (labels.shape[1] // self.patch) ** 2
        blocks = labels.reshape(count, side, self.patch, side, self.patch).swapaxes(2, 3)
        blocks = blocks.reshape(count, cells, -1)
        shares = [(blocks == k + 1).mean(2) for k in range(facts.shape[1])]
        owners = np.stack([np.full((count, cells), _COVERED_SHARE), *shares]).argmax(0)
        nothing = np.array([0] + [IGNORED] * (facts.shape[2] - 1))
        classes = np.concatenate([np.tile(nothing, (count, 1, 1)), facts], 1)
        of_cell = np.arange(count)[:, None], owners
        ious = np.concatenate([np.zeros_like(scenes.ious[:, :1]), scenes.ious], 1)[chosen, shown]
        words = self._texts(scenes, chosen, flips, facts, ious, texts=texts, rng=rng)
        arrays = (pixels, classes[of_cell], owners, reach[of_cell], *words)
        return Batch(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))

    def _view(
        self, scenes: LabelledScenes, index: int, flips: tuple[bool, bool], *, shown: int
    ) -> tuple[NDArray[Any], ...]:
        """Return a scene's pixels, labels, classes of objects and outlines, mirrored.

        `shown` is the number of the mask drawn in, from 1; 0 for none.
        """
        image, labels = scenes.images[index], scenes.labels[index]
        if shown:
            image = draw_mask(image, scenes.masks[index, shown - 1])
        action, x, y = np.moveaxis(scenes.answers[index, shown].copy(), 1, 0)
        reach = scenes.reach[index]
        side = labels.shape[0]
        if flips[0]:
            image, labels, x = image[:, ::-1], labels[:, ::-1], side - 1 - x
            reach = np.roll(reach[:, ::-1], ANGLES // 2, 1)
        if flips[1]:
            image, labels, y, reach = image[::-1], labels[::-1], side - 1 - y, reach[:, ::-1]
        digits = self._digits(x, y, side)
        digits[action == 2] = IGNORED
        names = scenes.names[index] + [1, 0, 0]
        facts = np.concatenate([names, action[:, None], digits], 1)
        grid, patch = side // self.patch, self.patch
        pixels = (image.astype(np.float32) / 255 - np.asarray(MEAN, np.float32)) / np.asarray(
            DEVIATION, np.float32
        )
        pixels = pixels.reshape(grid, patch, grid, patch, 3).transpose(0, 2, 4, 1, 3)
        return pixels.reshape(grid * grid, -1), labels, facts, reach

    def _digits(self, x: NDArray[Any], y: NDArray[Any], side: int) -> NDArray[np.int64]:
        """Return the digits of points. Shape: (N, 4)."""
        rows = [
            "".join(n[-2:] for n in self.codec.numbers(int(a), int(b), size_hw=(side, side)))
            for a, b in zip(x, y, strict=True)
        ]
        return np.array([[int(d) for d in row] for row in rows], np.int64)

    def _texts(
        self,
        scenes: LabelledScenes,
        chosen: NDArray[np.int64],
        flips: NDArray[np.bool_],
        facts: NDArray[np.int64],
        ious: NDArray[np.float32],
        *,
        texts: int,
        rng: np.random.Generator | None,
    ) -> tuple[NDArray[Any], ...]:
        c, count = self.conversation, len(chosen)
        room = scenes.texts.shape[2] + len(c.between) + c.longest_score + c.longest_answer
        rows = np.full((count, texts, room), c.padding)
        weights = np.zeros((count, texts, room), np.float32)
        targets = np.full((count, texts), -1)
        starts = np.ones((count, texts), np.int64)
        longest = 1
        for b, index in enumerate(chosen):
            present = np.nonzero(scenes.targets[index] >= 0)[0]
            if rng is not None:
                present = rng.permutation(present)
            for e, j in enumerate(present[:texts]):
                words = scenes.texts[index, j]
                words = words[words > 0]
                for axis in (0, 1):
                    if flips[b, axis]:
                        words = self.mirrored_words[axis][words]
                target = scenes.targets[index, j]
                action = int(facts[b, target, 3])
                answer = c.answer(action, facts[b, target, 4:])
                score = c.score(float(ious[b, target])) if self.scores else []
                asked = [*words, *c.between]
                row = [*asked, *score, *answer]
                rows[b, e, : len(row)], targets[b, e] = row, target
                starts[b, e] = start = len(asked) + len(score)
                weights[b, e, len(asked) : len(row)] = 1
                weights[b, e, len(asked) + 2 : start - 1] = _LATER_DIGIT_WEIGHT
                if action != FINISH:
                    weights[b, e, [start + c.places[k] for k in (1, 3)]] = _SECOND_DIGIT_WEIGHT
                longest = max(longest, len(row))
        return rows[:, :, :longest], targets, starts, weights[:, :, :longest]


def mirrored_words(tokenizer: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each token's counterpart in a picture mirrored left to right, and top to bottom."""
    pairs_x = (("left", "right"), ("leftmost", "rightmost"))
    pairs_y = (("top", "bottom"), ("topmost", "lowest"), ("above", "below"))
    return _swapped(tokenizer, pairs_x), _swapped(tokenizer, pairs_y)


def _swapped(tokenizer: Any, pairs: tuple[tuple[str, str], ...]) -> NDArray[np.int64]:
    table = np.arange(len(tokenizer))
    for one, other in pairs:
        a, b = (tokenizer(f"the {word}")["input_ids"][-1] for word in (one, other))
        table[a], table[b] = b, a
    return table
