"""Work on a unit: one outcome per item, in order; a fault costs only its own targets."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from builders import FailingDiscs, ManyDiscs, RecordingDiscs
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Image, Prediction
from hlmat.transforms.core.records import (
    Box,
    Click,
    Reject,
    RejectReason,
    StopReason,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.dataset_io.work_units import WorkUnit, plan_units, ref_of
from hlmat.transforms.masks.rle import decode_rle, mask_box
from hlmat.transforms.policies.registry import PolicyOptions
from hlmat.transforms.rollout import unit_images
from hlmat.transforms.rollout.loop import Limits
from hlmat.transforms.rollout.options import AreaFilter, FirstMask, InitialAction
from hlmat.transforms.rollout.unit_worker import (
    Simulation,
    simulate_unit,
)
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SIZE_HW, SceneReader, disc_settings

SETTINGS = disc_settings(SceneReader())


def unit_of(reader: SceneReader) -> WorkUnit:
    return next(iter(plan_units(reader.read_targets(), unit_size=1000, fingerprint="f")))


def run(simulation: Simulation | None = None, **changes: Any) -> list[Trajectory | Reject]:
    simulation = simulation or replace(SETTINGS, **changes)()
    assert isinstance(simulation.reader, SceneReader)
    unit = unit_of(simulation.reader)
    outcomes = simulate_unit(unit, simulation)
    refs = [o.ref if isinstance(o, Reject) else o.target.ref for o in outcomes]
    assert refs == [ref_of(item) for item in unit.items]
    return outcomes


def test_every_target_gives_a_trajectory_and_an_image_is_set_once():
    segmenter = RecordingDiscs()
    outcomes = run(replace(SETTINGS(), segmenter=segmenter))
    assert len(outcomes) == 12
    assert all(isinstance(o, Trajectory) and o.steps for o in outcomes)
    assert segmenter.num_images == 4


def test_faults_become_rejects_in_their_place():
    reader = SceneReader(
        bad_images=frozenset({"001.png"}),
        bad_masks=frozenset({"000#1"}),
        listed_rejects=frozenset({"002#0"}),
    )
    rejects = {
        o.ref.target_id: (o.reason, o.message) for o in run(reader=reader) if isinstance(o, Reject)
    }
    assert rejects == {
        "000#1": (RejectReason.EMPTY_MASK, "000#1: the mask is empty"),
        "001#0": (RejectReason.UNREADABLE_IMAGE, "001.png is truncated"),
        "001#1": (RejectReason.UNREADABLE_IMAGE, "001.png is truncated"),
        "001#2": (RejectReason.UNREADABLE_IMAGE, "001.png is truncated"),
        "002#0": (RejectReason.MISSING_MASK, "no mask next to it"),
    }


@pytest.mark.parametrize(
    ("area_filter", "problems"),
    [
        (AreaFilter(min_area=500), {0: "480 pixels, fewer than the minimum of 500"}),
        (AreaFilter(max_area=528), {2: "576 pixels, more than the maximum of 528"}),
        (
            AreaFilter(min_area=481, max_area=575),
            {
                0: "480 pixels, fewer than the minimum of 481",
                2: "576 pixels, more than the maximum of 575",
            },
        ),
    ],
)
def test_the_area_filter_rejects_with_the_numbers(
    area_filter: AreaFilter, problems: dict[int, str]
):
    # The rectangles have 480, 528 and 576 pixels.
    rejects = [o for o in run(area_filter=area_filter) if isinstance(o, Reject)]
    assert [(r.ref.object_id, r.reason, r.message) for r in rejects] == [
        (number, RejectReason.OUTSIDE_AREA_FILTER, f"the mask has {problem}")
        for _ in range(4)
        for number, problem in problems.items()
    ]


@pytest.mark.parametrize(
    ("segmenter", "reason", "message"),
    [
        (
            FailingDiscs(on_image=RuntimeError("bad image")),
            RejectReason.SEGMENTER_FAILED,
            "FailingDiscs.set_image: RuntimeError: bad image",
        ),
        (
            FailingDiscs(on_image=MemoryError("too large")),
            RejectReason.OUT_OF_MEMORY,
            "FailingDiscs.set_image: MemoryError: too large",
        ),
        (
            FailingDiscs(on_click=ValueError("odd click")),
            RejectReason.SEGMENTER_FAILED,
            "FailingDiscs failed at click 1: ValueError: odd click",
        ),
        (
            FailingDiscs(on_click=MemoryError("full")),
            RejectReason.OUT_OF_MEMORY,
            "FailingDiscs failed at click 1: MemoryError: full",
        ),
    ],
)
def test_a_failing_segmenter_costs_only_its_targets(
    segmenter: FailingDiscs, reason: RejectReason, message: str
):
    outcomes = run(replace(SETTINGS(), segmenter=segmenter))
    rejects = [o for o in outcomes if isinstance(o, Reject)]
    assert [(r.reason, r.message.partition(" (builders.py, line ")[0]) for r in rejects] == [
        (reason, message)
    ] * 12


def test_initial_boxes_are_the_truths_or_near_it_and_seeded():
    def first_boxes(**changes: Any) -> list[Box]:
        outcomes = run(**changes)
        actions = [o.steps[0].action for o in outcomes if isinstance(o, Trajectory)]
        return [a for a in actions if isinstance(a, Box)]

    truth = [
        mask_box(SceneReader().load_truth(ref).truth)
        for ref in SceneReader().read_targets()
        if isinstance(ref, TargetRef)
    ]
    assert first_boxes(initial_action=InitialAction.BOX) == truth
    jittered = first_boxes(initial_action=InitialAction.JITTERED_BOX)
    assert len(jittered) == 12
    assert jittered != truth
    assert jittered == first_boxes(initial_action=InitialAction.JITTERED_BOX)
    assert jittered != first_boxes(initial_action=InitialAction.JITTERED_BOX, seed=1)
    height, width = SIZE_HW
    assert all(0 <= b.x0 < b.x1 <= width and 0 <= b.y0 < b.y1 <= height for b in jittered)


def test_an_initial_wrong_click_is_positive_outside_the_object_and_seeded():
    def first_clicks(**changes: Any) -> list[Click]:
        outcomes = run(initial_action=InitialAction.WRONG_CLICK, **changes)
        clicks = []
        for outcome in outcomes:
            assert isinstance(outcome, Trajectory)
            step = outcome.steps[0]
            assert isinstance(step.action, Click)
            assert step.is_initial
            assert not decode_rle(outcome.target.truth)[step.action.y, step.action.x]
            clicks.append(step.action)
        return clicks

    clicks = first_clicks()
    assert len(clicks) == 12
    assert all(click.is_positive for click in clicks)
    assert clicks == first_clicks()
    assert clicks != first_clicks(seed=1)


class DiscsByName(DiscSegmenter):
    """Discs; for a text, the left half of the image, but nothing for `rectangle 2`.

    Attributes:
        texts: what it was asked, by call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[list[str]] = []
        self.is_loaded = False

    def load_texts(self) -> None:
        self.is_loaded = True

    def predict_texts(self, image: Image, texts: Sequence[str]) -> list[Prediction]:
        self.texts.append(list(texts))
        if "rectangle 1" in texts and len(texts) == 1:
            raise ValueError("never heard of it")
        masks = [np.zeros(image.shape[:2], dtype=np.bool_) for _ in texts]
        for mask, text in zip(masks, texts, strict=True):
            mask[:, : image.shape[1] // 2] = text != "rectangle 2"
        return [Prediction(mask) for mask in masks]


def test_rollouts_begin_with_what_the_segmenter_finds_by_text():
    tool = DiscsByName()
    reader = SceneReader(images=2)
    start = replace(SETTINGS, reader=reader)()
    outcomes = run(replace(start, segmenter=tool, initial_action=InitialAction.TEXT))
    assert tool.texts == [["rectangle 0", "rectangle 1", "rectangle 2"]] * 2
    for outcome in outcomes:
        assert isinstance(outcome, Trajectory)
        if outcome.target.ref.object_id == 2:
            assert (outcome.initial_mask, outcome.initial_iou) == (None, 0.0)
        else:
            assert outcome.initial_mask is not None
            expected = np.zeros(SIZE_HW, dtype=np.bool_)
            expected[:, :25] = True
            assert np.array_equal(decode_rle(outcome.initial_mask), expected)
            truth = decode_rle(outcome.target.truth)
            iou = (truth & expected).sum() / (truth | expected).sum()
            assert outcome.initial_iou == pytest.approx(iou)
        # The question for the text counts as a call, but is no step.
        assert outcome.decoder_calls is not None
        assert outcome.decoder_calls >= 1 + len(outcome.steps)
        assert not any(step.is_initial for step in outcome.steps)


def test_a_text_that_fails_costs_its_target_alone():
    class OneAtATime(DiscsByName):
        def predict_texts(self, image: Image, texts: Sequence[str]) -> list[Prediction]:
            if len(texts) > 1:
                raise ValueError("one at a time")
            return super().predict_texts(image, texts)

    start = replace(SETTINGS, reader=SceneReader(images=1))()
    outcomes = run(replace(start, segmenter=OneAtATime(), initial_action=InitialAction.TEXT))
    failed = [o for o in outcomes if isinstance(o, Reject)]
    assert [(o.ref.target_id, o.reason) for o in failed] == [
        ("000#1", RejectReason.SEGMENTER_FAILED)
    ]
    assert "predict_texts: ValueError: never heard of it" in failed[0].message


def test_a_target_without_a_text_cannot_be_found_by_one():
    class Nameless(SceneReader):
        def read_targets(self) -> Iterator[TargetRef | Reject]:
            for ref in super().read_targets():
                assert isinstance(ref, TargetRef)
                yield replace(ref, expressions=()) if ref.target_id == "000#0" else ref

    start = replace(SETTINGS, reader=Nameless(images=1))()
    outcomes = run(replace(start, segmenter=DiscsByName(), initial_action=InitialAction.TEXT))
    assert [str(o.message) for o in outcomes if isinstance(o, Reject)] == [
        "000#0 has no expression to find it by"
    ]


def test_a_segmenter_without_texts_is_refused_before_the_first_image():
    with pytest.raises(ConfigError) as caught:
        replace(SETTINGS, initial_action=InitialAction.TEXT)()
    assert str(caught.value) == (
        "--initial-action text: the segmenter 'hlmat.transforms.segmenters.disc:DiscSegmenter' "
        "takes no text; use --segmenter hf with a checkpoint of SAM 3, or a class of your own with "
        "the method predict_texts"
    )


def test_rollouts_begin_with_the_data_set_s_own_masks():
    for outcome in run(first_mask=FirstMask(), limits=Limits(target_iou=None)):
        assert isinstance(outcome, Trajectory)
        assert outcome.initial_mask == outcome.target.truth
        assert (outcome.initial_iou, outcome.stop_reason) == (1.0, StopReason.NO_ERROR_LEFT)


def test_corrupted_masks_lie_in_their_range_and_are_seeded():
    def starts(**changes: Any) -> list[Any]:
        first_mask = FirstMask(corrupted_to=(0.5, 0.7))
        outcomes = run(first_mask=first_mask, **changes)
        trajectories = [o for o in outcomes if isinstance(o, Trajectory)]
        assert len(trajectories) == 12
        assert all(0.5 <= t.initial_iou < 0.7 for t in trajectories)
        return [t.initial_mask for t in trajectories]

    assert starts() == starts()
    assert starts() != starts(seed=1)


def test_a_mask_that_cannot_be_corrupted_to_the_iou_is_a_reject():
    outcomes = run(first_mask=FirstMask(corrupted_to=(0.9999, 1)))
    assert {o.reason for o in outcomes if isinstance(o, Reject)} == {RejectReason.NOT_CORRUPTIBLE}
    assert len(outcomes) == 12
    assert isinstance(outcomes[0], Reject)
    assert "no corruption of the mask has an IoU of 0.9999 to 1" in outcomes[0].message


def test_the_result_does_not_depend_on_how_targets_are_cut_into_units():
    simulation = SETTINGS()
    whole = run(simulation)
    cut = [
        outcome
        for unit in plan_units(SceneReader().read_targets(), unit_size=3, fingerprint="f")
        for outcome in simulate_unit(unit, simulation)
    ]
    assert cut == whole


@pytest.mark.parametrize("leaves_cpu_free", [False, True])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_tool_for_many_images_gives_what_one_for_single_images_gives(
    leaves_cpu_free: bool, num_threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hlmat.transforms.rollout.unit_worker._IMAGES_AT_ONCE", 3)
    segmenter = ManyDiscs(leaves_cpu_free=leaves_cpu_free)
    simulation = replace(SETTINGS(), segmenter=segmenter, threads=Threads(num_threads))
    assert run(simulation) == run()
    assert [len(images) for images in segmenter.called("encode")] == [3, 1]
    assert segmenter.calls[1] == ("answer", [1] * 9) or leaves_cpu_free
    # What has a device of its own encodes while others click, everything else before them.
    assert (threading.get_ident() in segmenter.threads) is not leaves_cpu_free


def test_large_masks_are_worked_on_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch):
    of_two_images = 2 * SIZE_HW[0] * SIZE_HW[1] * (3 + 3 * 6)
    monkeypatch.setattr(unit_images, "MAX_BYTES_AT_ONCE", of_two_images)
    segmenter = ManyDiscs(leaves_cpu_free=False)
    assert run(replace(SETTINGS(), segmenter=segmenter)) == run()
    assert [len(images) for images in segmenter.called("encode")] == [2, 2]


@pytest.mark.parametrize("leaves_cpu_free", [False, True])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_images_too_large_to_be_read_ahead_come_alone_with_the_targets_that_fit(
    leaves_cpu_free: bool, num_threads: int, monkeypatch: pytest.MonkeyPatch
):
    expected = run()
    pixels = SIZE_HW[0] * SIZE_HW[1]
    monkeypatch.setattr(unit_images, "MAX_BYTES_AHEAD", pixels)
    monkeypatch.setattr(unit_images, "MAX_BYTES_AT_ONCE", pixels * (3 + 2 * 6))
    segmenter = ManyDiscs(leaves_cpu_free=leaves_cpu_free)
    simulation = replace(SETTINGS(), segmenter=segmenter, threads=Threads(num_threads))
    assert run(simulation) == expected
    assert [len(images) for images in segmenter.called("encode")] == [1] * 8


@dataclass(frozen=True)
class CountingReader(SceneReader):
    """Counts the images that are in memory whenever another one is read."""

    alive: list[weakref.ref[Any]] = field(default_factory=list, compare=False)
    counts: list[int] = field(default_factory=list, compare=False)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Any:
        self.counts.append(sum(image() is not None for image in self.alive))
        image = super().load_image(image_path, size_hw=size_hw).copy()
        self.alive.append(weakref.ref(image))
        return image


@pytest.mark.parametrize("num_threads", [1, 3])
def test_of_large_images_one_is_in_memory(num_threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unit_images, "MAX_BYTES_AHEAD", 0)
    reader = CountingReader()
    simulation = replace(
        SETTINGS(), reader=reader, segmenter=DiscSegmenter(), threads=Threads(num_threads)
    )
    run(simulation)
    assert reader.counts == [0] * 4


def test_a_policy_sees_every_object_of_the_image() -> None:
    wrong = PolicyOptions("oracle", wrong_clicks=1.0, wrong_clicks_on="object")
    outcomes = [o for o in run(build_policy=wrong) if isinstance(o, Trajectory)]
    assert len(outcomes) == 12
    for outcome in outcomes:
        first = outcome.steps[0]
        others = [
            decode_rle(o.target.truth)
            for o in outcomes
            if o.target.ref.image_path == outcome.target.ref.image_path and o is not outcome
        ]
        assert first.is_initial
        assert isinstance(first.action, Click)
        assert any(other[first.action.y, first.action.x] for other in others)
