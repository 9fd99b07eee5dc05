"""What FiftyOne's arithmetic makes of boxes, and the sample of an image."""

from __future__ import annotations

import builders
from hlmat.export.fiftyone.documents import StoredImage, sample_document, shares
from hlmat.transforms.core.records import Box, Click, Undo

IMAGE = StoredImage("data/aa/a.jpg", 5, "image/jpeg")


def test_fiftyone_finds_every_box_again() -> None:
    for size in (1, 3, 7, 120, 427, 640):
        for start in range(size):
            for end in {start + 1, (start + 1 + size) // 2, size} - {start}:
                first, extent = shares(start, end, size)
                # eta.core.geometry.RelativePoint.coords_in, after the clamp of from_coords.
                last = min(first + extent, 1.0)
                assert (int(size * 1.0 * first), int(size * 1.0 * last)) == (start, end)
                assert abs(first - start / size) + abs(extent - (end - start) / size) < 1e-14


def test_a_target_without_clicks_has_only_its_truth() -> None:
    truth = builders.columns(2, size_hw=(4, 8))
    sample = sample_document([builders.trajectory(builders.target(truth))], IMAGE)
    (label,) = sample["ground_truth"]["detections"]
    assert label["bounding_box"] == [0.0, 0.0, 0.25, 1.0]
    assert (label["iou"], label["num_clicks"], label["stop_reason"]) == (0.0, 0, "finished")
    assert sample["predictions"]["detections"] == sample["clicks"]["keypoints"] == []
    assert sample.keys().isdisjoint({"boxes", "no_object"})


def test_the_confidence_needs_no_ground_truth() -> None:
    truth = builders.columns(2, size_hw=(4, 8))
    step = builders.step(truth, Click(1, 2, True), 1.0, score=0.75)
    target = builders.target(truth)
    sample = sample_document([builders.trajectory(target, step)], IMAGE)
    (prediction,) = sample["predictions"]["detections"]
    assert (prediction["confidence"], prediction["iou"]) == (0.75, 1.0)
    (clicks,) = sample["clicks"]["keypoints"]
    assert (clicks["label"], clicks["points"], clicks["step"]) == (
        "positive",
        [[1.5 / 8, 2.5 / 4]],
        [0],
    )
    model = builders.trajectory(target, step, last_predicted_iou=0.25)
    (prediction,) = sample_document([model], IMAGE)["predictions"]["detections"]
    assert prediction["confidence"] == 0.25


def test_an_action_that_was_taken_back_is_no_label() -> None:
    truth = builders.columns(2, size_hw=(4, 8))
    actions = (Click(1, 2, True), Box(0, 0, 2, 2), Undo(), Click(3, 0, True), Undo())
    steps = [builders.step(truth, action, is_initial=False) for action in actions]
    sample = sample_document([builders.trajectory(builders.target(truth), *steps)], IMAGE)
    (clicks,) = sample["clicks"]["keypoints"]
    assert clicks["step"] == [0]
    assert "boxes" not in sample
