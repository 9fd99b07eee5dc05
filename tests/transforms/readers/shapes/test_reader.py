"""The generated data set: contract, determinism, what it promises about its masks and texts."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError, TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason, TargetRef
from hlmat.transforms.readers.shapes.reader import SPLITS, ShapesOptions, ShapesReader
from hlmat.transforms.readers.shapes.scene import (
    MIN_VISIBLE_PIXELS,
    MIN_VISIBLE_SHARE,
    compose_scene,
    rasterise,
)

SMALL = ShapesOptions(count=6, height=120, width=160)
SIZE_HW = (120, 160)


def _refs(reader: DatasetReader) -> list[TargetRef]:
    refs = list(reader.read_targets())
    assert all(isinstance(ref, TargetRef) for ref in refs)
    return [ref for ref in refs if isinstance(ref, TargetRef)]


def test_lists_every_object_of_every_image() -> None:
    reader = ShapesReader(SMALL)
    refs = _refs(reader)
    assert {ref.image_path for ref in refs} == {f"train/{k:06d}.png" for k in range(6)}
    assert len({ref.target_id for ref in refs}) == len(refs)
    first = refs[0]
    assert first.target_id == "train/000000#0"
    assert json.loads(first.truth_ref) == {"image": 0, "object": 0}
    assert (first.dataset, first.split, first.object_id) == ("shapes", "train", 0)
    assert all(1 <= len(ref.expressions) <= 3 for ref in refs)
    assert "6 images of 160x120 pixels" in reader.describe_layout()


def test_masks_of_one_image_are_full_size_disjoint_and_not_empty() -> None:
    reader = ShapesReader(SMALL)
    taken: dict[str, np.ndarray] = {}
    for ref in _refs(reader):
        truth = reader.load_truth(ref).truth
        assert truth.shape == SIZE_HW
        assert truth.dtype == np.bool_
        assert np.count_nonzero(truth) >= MIN_VISIBLE_PIXELS
        before = taken.setdefault(ref.image_path, np.zeros(SIZE_HW, dtype=np.bool_))
        assert not (before & truth).any()
        before |= truth


def test_images_are_rgb_of_the_asked_size_and_the_callers_own() -> None:
    reader = ShapesReader(SMALL)
    image = reader.load_image("train/000003.png", size_hw=SIZE_HW)
    assert image.shape == (120, 160, 3)
    assert image.dtype == np.uint8
    kept = image.copy()
    image[:] = 0
    assert np.array_equal(reader.load_image("train/000003.png", size_hw=SIZE_HW), kept)


def test_order_of_loading_and_a_copy_change_nothing() -> None:
    reader = ShapesReader(SMALL)
    refs = _refs(reader)
    forwards = [reader.load_truth(ref).truth for ref in refs]
    copy = pickle.loads(pickle.dumps(reader))
    backwards = [copy.load_truth(ref).truth for ref in reversed(refs)]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert copy == reader
    path = refs[-1].image_path
    image, again = (r.load_image(path, size_hw=SIZE_HW) for r in (reader, copy))
    assert np.array_equal(image, again)


def test_recent_scenes_are_bounded_and_stay_behind_when_pickled() -> None:
    reader = ShapesReader(SMALL)
    empty = len(pickle.dumps(reader))
    for ref in _refs(reader):
        reader.load_truth(ref)
    assert len(reader._recent) == 4
    assert len(pickle.dumps(reader)) == empty


def test_a_longer_data_set_begins_with_the_shorter() -> None:
    few, more = (_refs(ShapesReader(replace(SMALL, count=n))) for n in (3, 5))
    assert more[: len(few)] == few


def test_splits_and_seeds_share_no_image() -> None:
    readers = [ShapesReader(SMALL, split=split) for split in SPLITS]
    readers.append(ShapesReader(replace(SMALL, seed=1)))
    images = [
        reader.load_image(f"{reader.split}/{k:06d}.png", size_hw=SIZE_HW).tobytes()
        for reader in readers
        for k in range(6)
    ]
    assert len(set(images)) == len(images)


def test_golden() -> None:
    """The same bytes as ever, on any machine.

    Made by printing the three digests below. They change only when the generator is changed on
    purpose, which makes another data set: say so in the changelog.
    """
    reader = ShapesReader(ShapesOptions(count=8, seed=7), split="val")
    refs = _refs(reader)
    texts = json.dumps([[ref.target_id, *ref.expressions] for ref in refs])
    masks = np.stack([reader.load_truth(ref).truth for ref in refs])
    image = reader.load_image("val/000002.png", size_hw=(240, 320))
    digests = [
        hashlib.sha256(data).hexdigest()[:16]
        for data in (texts.encode(), masks.tobytes(), image.tobytes())
    ]
    assert digests == ["ef22f85ededd9cd3", "56f4566087275e8c", "8406f84801578341"]


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 10**6),
    seed=st.integers(0, 2**40),
    difficulty=st.sampled_from(["simple", "thin", "mixed"]),
    size_hw=st.sampled_from([(64, 64), (120, 160), (240, 320), (200, 90), (64, 400)]),
    objects=st.sampled_from([(1, 1), (2, 5), (12, 12)]),
)
def test_enough_of_every_object_is_visible(index, seed, difficulty, size_hw, objects) -> None:
    options = ShapesOptions(
        height=size_hw[0],
        width=size_hw[1],
        seed=seed,
        objects_min=objects[0],
        objects_max=objects[1],
        difficulty=difficulty,
    )
    scene = compose_scene(options, split="test", index=index)
    assert 1 <= len(scene.things) <= objects[1]
    assert scene.labels.max() == len(scene.things)
    expected = np.zeros(size_hw, dtype=np.uint8)
    for number in reversed(range(len(scene.things))):
        mask, (rows, columns), full = rasterise(scene.things[number], size_hw=size_hw)
        expected[rows, columns][mask] = number + 1
        visible = np.count_nonzero(scene.mask(number))
        assert visible >= max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * full)
        covered = np.count_nonzero(mask) - visible
        assert covered == scene.hidden[:, number].sum()
    # Painting back to front gives what placing front to back has settled.
    assert np.array_equal(scene.labels, expected)


def test_options_name_every_problem_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ShapesOptions(
            count=0,
            height=10,
            width=9000,
            seed=-1,
            objects_min=13,
            difficulty="hard",  # pyright: ignore[reportArgumentType]
        )
    assert caught.value.problems == (
        "ShapesOptions.count 0: must be from 1 to 10,000,000",
        "ShapesOptions.height 10: must be from 64 to 8,192",
        "ShapesOptions.width 9000: must be from 64 to 8,192",
        "ShapesOptions.seed -1: must be at least 0",
        "ShapesOptions.objects_min 13: must be from 1 to 12",
        "ShapesOptions.difficulty 'hard': choose from simple, thin, mixed",
    )


def test_the_fewest_objects_are_not_more_than_the_most() -> None:
    with pytest.raises(ConfigError) as caught:
        ShapesOptions(objects_min=6, objects_max=3)
    assert caught.value.problems == (
        "ShapesOptions.objects_min 6 is above ShapesOptions.objects_max 3; swap them",
    )


def test_an_unknown_split_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"split 'testA' does not exist; .* train, val, test"):
        ShapesReader(SMALL, split="testA")


@pytest.mark.parametrize(
    "path",
    [
        "train/000006.png",  # one past the last
        "train/0000001.png",  # another name of the second
        "val/000000.png",  # another split
        "train/../train/000000.png",  # leaves the folder
        "000000.png",  # no split
    ],
)
def test_a_path_that_is_not_in_the_data_set_is_reported(path: str) -> None:
    with pytest.raises(TargetError, match=r"expected train/000000\.png to train/000005\.png") as e:
        ShapesReader(SMALL).load_image(path, size_hw=SIZE_HW)
    assert e.value.reason is RejectReason.MISSING_IMAGE


def test_another_size_is_reported() -> None:
    with pytest.raises(TargetError, match="the mask is 320x240 pixels and the image 160x120") as e:
        ShapesReader(SMALL).load_image("train/000000.png", size_hw=(240, 320))
    assert e.value.reason is RejectReason.SIZE_MISMATCH


@pytest.mark.parametrize(
    ("truth_ref", "message"),
    [
        ('{"image": 0, "object": 99}', "image 0 has objects 0 to"),
        ('{"image": 6, "object": 0}', 'expected {"image": 0 to 5'),
        ('{"image": "0", "object": 0}', 'expected {"image": 0 to 5'),
        ('{"image": 0}', 'expected {"image": 0 to 5'),
        ("[]", 'expected {"image": 0 to 5'),
        ("not JSON", "truth_ref is 'not JSON'"),
    ],
)
def test_a_truth_ref_that_is_not_in_the_data_set_is_reported(truth_ref: str, message: str) -> None:
    reader = ShapesReader(SMALL)
    ref = next(islice(iter(_refs(reader)), 1))
    with pytest.raises(TargetError) as caught:
        reader.load_truth(replace(ref, truth_ref=truth_ref))
    assert message in caught.value.message
    assert caught.value.reason is RejectReason.MISSING_ANNOTATION
