"""Labels match the scene that the image was drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np

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
        assert max(mask_iou(shown, scene.mask(k)) for k in range(len(scene.things))) > 0.1
        for k, thing in enumerate(scene.things):
            named = [w[c] for w, c in zip(ATTRIBUTES, SCENES.names[index, k], strict=True)]
            assert named == [thing.colour_name, thing.kind, thing.pattern]
            truth = scene.mask(k)
            first = oracle_click(np.zeros_like(truth), truth)
            assert first is not None
            assert SCENES.answers[index, 0, k].tolist() == [POSITIVE, first.x, first.y]
            action, x, y = SCENES.answers[index, 1, k].tolist()
            actions.add(action)
            if mask_iou(shown, truth) >= FINISH_IOU:
                assert action == FINISH
            else:
                assert truth[y, x] == (action == POSITIVE)
                assert shown[y, x] == (action == NEGATIVE)
            inside = SCENES.reach[index, k + 1] * 64 / 4
            assert inside.max() <= 2 * thing.radius + 2
    assert actions == {POSITIVE, NEGATIVE, FINISH}


def test_texts_are_those_of_the_data_set() -> None:
    refs = [r for r in ShapesReader(OPTIONS).read_targets() if isinstance(r, TargetRef)]
    expected = [text for ref in refs for text in ref.expressions]
    found = [
        TOKENIZER.decode(words[words > 0])
        for index in range(OPTIONS.count)
        for words in SCENES.texts[index][SCENES.targets[index] >= 0]
    ]
    assert found == expected
