"""Labels match the scene that the image was drawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.readers.shapes.drawing import paint_scene
from hlmat.transforms.readers.shapes.reader import ShapesReader
from hlmat.transforms.readers.shapes.scene import ShapesOptions, compose_scene
from hlmat.transforms.tiny_vlm.architecture import build_tiny_vlm_tokenizer
from hlmat.transforms.tiny_vlm.scenes import (
    ATTRIBUTES,
    FINISH,
    FINISH_IOU,
    NEGATIVE,
    POSITIVE,
    label_scenes,
)

OPTIONS = ShapesOptions(count=12, height=64, width=64, difficulty="simple", objects_max=3)
TOKENIZER: Any = build_tiny_vlm_tokenizer()
SCENES = label_scenes(OPTIONS, split="train", tokenizer=TOKENIZER)


def test_every_scene_is_labelled_with_its_objects_and_clicks() -> None:
    actions = set()
    for index in range(OPTIONS.count):
        scene = compose_scene(OPTIONS, split="train", index=index)
        assert np.array_equal(SCENES.images[index], paint_scene(scene))
        assert np.array_equal(SCENES.labels[index], scene.labels)
        shown = SCENES.masks[index]
        assert max(mask_iou(shown[0], scene.mask(k)) for k in range(len(scene.things))) > 0.1
        for k, thing in enumerate(scene.things):
            named = [w[c] for w, c in zip(ATTRIBUTES, SCENES.names[index, k], strict=True)]
            assert named == [thing.colour_name, thing.kind, thing.pattern]
            truth = scene.mask(k)
            first = oracle_click(np.zeros_like(truth), truth)
            assert first is not None
            assert SCENES.answers[index, 0, k].tolist() == [POSITIVE, first.x, first.y]
            for mask, answer, iou in zip(
                shown, SCENES.answers[index, 1:, k], SCENES.ious[index, :, k], strict=True
            ):
                action, x, y = answer.tolist()
                actions.add(action)
                assert iou == pytest.approx(mask_iou(mask, truth))
                if iou >= FINISH_IOU:
                    assert action == FINISH
                else:
                    assert truth[y, x] == (action == POSITIVE)
                    assert mask[y, x] == (action == NEGATIVE)
            inside = SCENES.reach[index, k + 1] * 64 / 4
            assert inside.max() <= 2 * thing.radius + 2
    assert actions == {POSITIVE, NEGATIVE, FINISH}


def test_masks_are_of_every_quality_and_some_of_two_objects_or_none() -> None:
    options = replace(OPTIONS, count=80)
    scenes = label_scenes(options, split="train", tokenizer=TOKENIZER)
    best = np.sort(scenes.ious, axis=2)
    assert (best[..., -1] > 0.95).sum() > 10
    assert ((best[..., -1] > 0.2) & (best[..., -1] < 0.8)).sum() > 10
    assert (best[..., -2] > 0.1).sum() >= 3
    assert (best[..., -1] == 0).sum() >= 3


def test_texts_are_those_of_the_data_set() -> None:
    refs = [r for r in ShapesReader(OPTIONS).read_targets() if isinstance(r, TargetRef)]
    expected = [text for ref in refs for text in ref.expressions]
    found = [
        TOKENIZER.decode(words[words > 0])
        for index in range(OPTIONS.count)
        for words in SCENES.texts[index][SCENES.targets[index] >= 0]
    ]
    assert found == expected
