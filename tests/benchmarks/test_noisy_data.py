"""The data sets with planted errors are those that a run over COCO's files reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.noise import plant
from benchmarks.noisy_data import ANNOTATIONS, write_coco
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.shapes.options import ShapesOptions

SCENES = ShapesOptions(count=6, height=64, width=80, objects_max=3)


def test_what_is_planted_is_what_is_read(tmp_path: Path):
    data = plant(SCENES, rate=0.5, seed=0)
    assert {kind for kinds in data.planted.values() for kind in kinds} >= {"duplicate", "swapped"}
    write_coco(data, tmp_path)
    options = ReaderOptions(data_root=str(tmp_path), split="train", annotations=ANNOTATIONS)
    reader = open_reader("coco", options)
    read = [entry for entry in reader.read_targets() if isinstance(entry, TargetRef)]
    assert len(read) == len(data.targets) > 12
    for entry, (ref, truth) in zip(read, data.targets, strict=True):
        assert entry.expressions == ref.expressions
        assert np.array_equal(reader.load_truth(entry).truth, truth)
        image = reader.load_image(entry.image_path, size_hw=(64, 80))
        assert np.array_equal(image, data.images[ref.image_path])


def test_without_a_rate_nothing_is_planted():
    assert not plant(SCENES, rate=0.0, seed=0).planted
