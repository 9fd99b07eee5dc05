"""Cell labels match the scene that the image was drawn from."""

from __future__ import annotations

import numpy as np

from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.readers.shapes.drawing import paint_scene
from hlmat.transforms.readers.shapes.scene import ShapesOptions, compose_scene
from hlmat.transforms.tiny_vlm.localization import (
    ATTRIBUTES,
    DIGITS,
    UNKNOWN,
    label_scene,
    labelled_images,
)

OPTIONS = ShapesOptions(count=6, height=64, width=64, difficulty="simple")
CODEC = build_codec("decimal", digits=2)
GRID = 4


def test_a_cell_is_labelled_with_its_object_and_click() -> None:
    seen = 0
    for index in range(OPTIONS.count):
        scene = compose_scene(OPTIONS, split="train", index=index)
        labelled = label_scene(scene, grid=GRID, codec=CODEC)
        assert np.array_equal(labelled.image, paint_scene(scene))
        for cell, classes in enumerate(labelled.classes.tolist()):
            row, column = divmod(cell, GRID)
            part = scene.labels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            counts = [int((part == k + 1).sum()) for k in range(len(scene.things))]
            if max(counts) < 0.3 * 256:
                assert classes == [0, 0, 0] + [UNKNOWN] * DIGITS
                continue
            seen += 1
            thing = scene.things[counts.index(max(counts))]
            named = [words[c - 1] for words, c in zip(ATTRIBUTES, classes[:3], strict=True)]
            assert named == [thing.colour_name, thing.kind, thing.pattern]
            truth = scene.mask(counts.index(max(counts)))
            click = oracle_click(np.zeros_like(truth), truth)
            assert click is not None
            x0, x1, y0, y1 = classes[3:]
            assert CODEC.render(click.x, click.y, size_hw=(64, 64)) == f"(0.{x0}{x1}, 0.{y0}{y1})"
    assert seen > 20


def test_every_image_of_a_split_is_labelled() -> None:
    images = labelled_images(OPTIONS, split="val", grid=GRID, codec=CODEC)
    assert len(images) == OPTIONS.count
    assert all(p.classes.shape == (GRID * GRID, 3 + DIGITS) for p in images)
