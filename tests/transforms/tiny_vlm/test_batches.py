"""Batches show what the processor shows, and mirror picture, words and clicks together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.prompting.overlay import draw_mask
from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import (
    END,
    build_tiny_vlm_processor,
    build_tiny_vlm_tokenizer,
)
from hlmat.transforms.tiny_vlm.batches import IGNORED, BatchMaker, mirrored_words
from hlmat.transforms.tiny_vlm.build import CODEC
from hlmat.transforms.tiny_vlm.conversation import build_conversation
from hlmat.transforms.tiny_vlm.options import TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.scenes import FINISH, MASKS, label_scenes
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
TOKENIZER: Any = build_tiny_vlm_tokenizer()
OPTIONS = ShapesOptions(count=12, height=64, width=64, difficulty="simple", objects_max=3)
SCENES = label_scenes(OPTIONS, split="train", tokenizer=TOKENIZER)
MAKER = BatchMaker(
    16, build_conversation(TOKENIZER, CODEC, end=END), CODEC, mirrored_words(TOKENIZER)
)
X_WORDS = {"left": "right", "leftmost": "rightmost"}
X_WORDS |= {other: one for one, other in X_WORDS.items()}
Y_WORDS = {"top": "bottom", "topmost": "lowest", "above": "below"}
Y_WORDS |= {other: one for one, other in Y_WORDS.items()}
ALL = np.arange(len(SCENES))


@pytest.mark.parametrize("mask_share", [0.0, 1.0])
def test_pixels_are_those_of_the_processor(mask_share: float) -> None:
    architecture = TinyVlmArchitecture(image=64, patch=16)
    processor = build_tiny_vlm_processor(architecture, TOKENIZER).image_processor
    images = list(SCENES.images)
    if mask_share:
        images = [draw_mask(i, SCENES.masks[b, 0]) for b, i in enumerate(images)]
    made = processor(images=images, return_tensors="pt")["pixel_values"]
    # Each patch holds its channels, each with two frames, which are the same.
    theirs = made.reshape(len(ALL), 16, 3, 2, 256)[:, :, :, 0].flatten(2)
    ours = MAKER.make(SCENES, ALL, texts=1, mask_share=mask_share).pixels
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


def test_a_cell_has_the_classes_of_its_object() -> None:
    batch = MAKER.make(SCENES, ALL, texts=9, mask_share=1.0)
    for b in ALL:
        for cell, owner in enumerate(batch.owners[b].tolist()):
            row, column = divmod(cell, 4)
            part = SCENES.labels[b, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            counts = np.bincount(part.ravel(), minlength=4)[1:]
            colour, *rest = batch.classes[b, cell].tolist()
            if counts.max() < 0.3 * 256:
                assert (owner, colour, rest) == (0, 0, [IGNORED] * 7)
                continue
            assert counts[owner - 1] == counts.max()
            assert [colour - 1, *rest[:2]] == SCENES.names[b, owner - 1].tolist()
            action, x, y = SCENES.answers[b, 1, owner - 1].tolist()
            assert rest[2] == action
            if action == FINISH:
                assert rest[3:] == [IGNORED] * 4
            else:
                x0, x1, y0, y1 = rest[3:]
                assert CODEC.render(x, y, size_hw=(64, 64)) == f"(0.{x0}{x1}, 0.{y0}{y1})"


def test_mirrored_scenes_keep_words_and_clicks_true() -> None:
    seen_flips = set()
    plain = MAKER.make(SCENES, ALL, texts=9)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        flips = np.random.default_rng(seed).random((len(ALL), 2)) < 0.5
        batch = MAKER.make(SCENES, ALL, texts=9, rng=rng)
        for b in ALL:
            x_flip, y_flip = (bool(f) for f in flips[b])
            seen_flips.add((x_flip, y_flip))
            grid = batch.owners[b].reshape(4, 4).numpy()
            grid = grid[:, ::-1] if x_flip else grid
            grid = grid[::-1] if y_flip else grid
            assert np.array_equal(grid, plain.owners[b].reshape(4, 4).numpy())
            for row, target, start in zip(
                batch.texts[b], batch.targets[b], batch.starts[b], strict=True
            ):
                if target < 0:
                    continue
                words = TOKENIZER.decode(row[: start - len(MAKER.conversation.between)])
                for mirror in [X_WORDS] * x_flip + [Y_WORDS] * y_flip:
                    words = " ".join(mirror.get(w) or w for w in words.split())
                said = SCENES.texts[b][SCENES.targets[b] == int(target)]
                assert words in [TOKENIZER.decode(t[t > 0]) for t in said]
                answer = TOKENIZER.decode(row[start:]).partition(END)[0]
                x, y = CODEC.parse(answer.removeprefix("Positive point: "), size_hw=(64, 64))
                x, y = (63 - x if x_flip else x), (63 - y if y_flip else y)
                _, right_x, right_y = SCENES.answers[b, 0, int(target)]
                assert abs(x - right_x) <= 1
                assert abs(y - right_y) <= 1
    assert seen_flips == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.parametrize("mask_share", [0.0, 1.0])
def test_answers_begin_with_the_iou_of_the_mask_shown(mask_share: float) -> None:
    batch = replace(MAKER, scores=True).make(SCENES, ALL, texts=9, mask_share=mask_share)
    scores = set()
    for b, e in np.argwhere(batch.targets.numpy() >= 0):
        start, target = int(batch.starts[b, e]), int(batch.targets[b, e])
        shown = b % MASKS
        iou = float(SCENES.ious[b, shown, target]) if mask_share else 0.0
        scores.add(iou)
        score = MAKER.conversation.score(iou)
        assert TOKENIZER.decode(score) == f"Current IOU: {100 * iou:.1f}, "
        begin = start - len(score)
        assert batch.texts[b, e, begin:start].tolist() == score
        action, x, y = SCENES.answers[b, 1 + shown if mask_share else 0, target].tolist()
        answer = TOKENIZER.decode(batch.texts[b, e, start:]).partition(END)[0]
        where = CODEC.render(x, y, size_hw=(64, 64))
        said = ("Positive point: ", "Negative point: ", "Finish")[action]
        assert answer == said + (where if action != FINISH else "")
        weights = batch.weights[b, e].tolist()
        assert not any(weights[:begin])
        assert weights[begin : begin + 3] == pytest.approx([1, 1, 0.3])
        counted = 2 if action == FINISH else len(MAKER.conversation.answers[0])
        assert all(weights[begin : start + counted])
        assert not any(weights[start + counted :])
    assert (len(scores) > 10) == bool(mask_share)


def test_without_texts_none_are_made() -> None:
    batch = MAKER.make(SCENES, ALL[:2], texts=0)
    assert batch.texts.shape == (2, 0, 1)
