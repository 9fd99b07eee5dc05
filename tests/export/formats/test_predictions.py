from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import builders
import record_strategies
from hlmat.export.formats.predicted_actions import read_actions
from hlmat.export.formats.predictions import predictions_json, read_predictions
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Click, StopReason, Trajectory, Undo
from hlmat.transforms.masks.rle import decode_rle, encode_mask
from hlmat.transforms.metrics.target_results import choose_mask, rolled_out
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.dialogues.segagent import parse_action

SIZE = {"height": 4, "width": 5}

masks = npst.arrays(bool, (4, 5)).map(encode_mask)
texts = st.none() | st.text(max_size=12) | st.just("Current IOU: 85.2, Finish")
unicode_texts = st.text(st.characters(codec="utf-8"), max_size=8)
clicks = record_strategies.clicks_within((4, 5))
steps = st.builds(builders.step, masks, clicks, answer=texts)
boxes = st.builds(builders.step, masks, st.just(Box(0, 1, 3, 4)))


@st.composite
def trajectories(draw: st.DrawFn, target_id: str = "t1") -> Trajectory:
    ref = builders.target_ref(target_id, draw(unicode_texts), image_path=draw(unicode_texts))
    return builders.trajectory(
        builders.target(draw(masks), ref, ignore=draw(st.none() | masks)),
        *draw(st.lists(boxes, max_size=1)),
        *draw(st.lists(steps, max_size=3)),
        stop_reason=draw(st.sampled_from(StopReason)),
        provenance=builders.provenance("graphcut", "mllm"),
        last_answer=draw(texts),
        initial_mask=draw(st.none() | masks),
    )


def square(side: int) -> Mask:
    mask = np.zeros((4, 5), dtype=bool)
    mask[:side, :side] = True
    return mask


def rle(side: int) -> dict[str, Any]:
    return {"counts": encode_mask(square(side)).counts, "size": [4, 5]}


def foreign_entry() -> dict[str, Any]:
    """An entry as the reference writes it."""
    return {
        "img_path": "train2014/a.jpg",
        **SIZE,
        "caption": ["a cup"],
        "gt_mask": rle(3),
        "masks": None,
        "click_id": 0,
        "pred_list": [
            {
                "click_id": k,
                "mask": rle(side),
                "outputs": f"Current IOU: {10 * k}.0, Positive point: (1, 2)",
                "clicks": [],
                "used_box": None,
            }
            for k, side in enumerate((1, 2))
        ],
    }


def write(path: Path, *entries: Any) -> str:
    file = path / "predictions.json"
    file.write_text(json.dumps(list(entries)))
    return str(file)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_reading_gives_back_what_was_written(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    written = [data.draw(trajectories(f"t{k}")) for k in range(count)]
    path = tmp_path / "predictions.json"
    path.write_bytes(predictions_json(written))
    for one, t in zip(read_predictions(str(path)), written, strict=True):
        rollout = rolled_out(t)
        assert one.rollout.image == t.target.ref.image_path
        assert one.expression == t.target.ref.expressions[0]
        assert one.outputs == tuple(s.answer for s in t.steps)
        assert one.rollout.target_id == rollout.target_id
        assert one.rollout.truth == rollout.truth
        assert one.rollout.ignore == rollout.ignore
        assert one.rollout.initial_mask == rollout.initial_mask
        assert one.rollout.masks == rollout.masks
        assert one.rollout.first_click == rollout.first_click
        assert one.rollout.stop_reason is rollout.stop_reason


@settings(deadline=None)
@given(trajectories())
def test_the_same_rollouts_give_the_same_ascii_bytes(t: Trajectory) -> None:
    assert predictions_json([t]) == predictions_json([t])
    assert predictions_json([t]).isascii()


def test_an_entry_has_the_reference_s_fields_and_clicks_so_far() -> None:
    mask = square(2)
    t = builders.trajectory(
        builders.target(square(3), "t@0"),
        builders.step(mask, Box(0, 1, 3, 4)),
        builders.step(mask, Click(4, 1, True), answer="one"),
        builders.step(mask, Click(0, 3, False), answer="two"),
        last_answer="Finish",
    )
    (entry,) = json.loads(predictions_json([t]))
    assert {k: entry[k] for k in ("img_path", "height", "width", "caption")} == {
        "img_path": "a.jpg",
        **SIZE,
        "caption": ["cup"],
    }
    assert entry["gt_mask"] == rle(3)
    assert (entry["masks"], entry["click_id"]) == (None, 0)
    assert (entry["target_id"], entry["last_output"], entry["stop_reason"]) == (
        "t@0",
        "Finish",
        "finished",
    )
    first = {"coor": [1, 4], "is_positive": True}
    second = {"coor": [3, 0], "is_positive": False}
    assert [step["clicks"] for step in entry["pred_list"]] == [[], [first], [first, second]]
    assert [step["used_box"] for step in entry["pred_list"]] == [[0, 1, 3, 4]] * 3
    assert [step["click_id"] for step in entry["pred_list"]] == [0, 1, 2]
    assert [step["outputs"] for step in entry["pred_list"]] == [None, "one", "two"]
    assert entry["pred_list"][0]["mask"] == rle(2)


def test_nothing_to_write_is_an_empty_list() -> None:
    assert json.loads(predictions_json([])) == []


def test_entries_of_segagent_s_own_code_are_read(tmp_path: Path) -> None:
    (one,) = read_predictions(write(tmp_path, foreign_entry()))
    assert (one.rollout.image, one.expression) == ("train2014/a.jpg", "a cup")
    assert one.rollout.stop_reason is None
    assert one.rollout.predicted_ious == (0.0, 0.1)
    assert one.rollout.last_predicted_iou is None
    assert (one.rollout.first_click, len(one.rollout.masks)) == (0, 2)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        pytest.param(rle(2), square(2), id="compressed"),
        pytest.param({"counts": [0, 2, 2, 2, 14], "size": [4, 5]}, square(2), id="uncompressed"),
        pytest.param([[0, 0, 2, 0, 2, 2, 0, 2]], square(2), id="polygon"),
        pytest.param(None, square(0), id="null"),
        pytest.param([], square(0), id="no polygon"),
        pytest.param({"counts": [20], "size": [4, 5]}, square(0), id="no pixel"),
    ],
)
def test_masks_of_every_form_are_read(tmp_path: Path, form: Any, expected: Mask) -> None:
    entry = foreign_entry()
    entry["pred_list"][1]["mask"] = form
    (one,) = read_predictions(write(tmp_path, entry))
    np.testing.assert_array_equal(decode_rle(one.rollout.masks[1]), expected)


def test_a_caption_may_be_one_text_and_a_list_of_predictions_empty(tmp_path: Path) -> None:
    entry = {**foreign_entry(), "caption": "a cup", "pred_list": []}
    (one,) = read_predictions(write(tmp_path, entry))
    assert (one.expression, one.rollout.masks) == ("a cup", ())


def changed(**fields: Any) -> dict[str, Any]:
    return {**foreign_entry(), **fields}


def with_step(**fields: Any) -> dict[str, Any]:
    entry = copy.deepcopy(foreign_entry())
    entry["pred_list"][1].update(fields)
    return entry


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in foreign_entry().items() if k != key}


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        pytest.param(7, "entry 1 is a int, expected an object", id="no object"),
        pytest.param(changed(height="4"), "entry 1: height is '4'", id="text height"),
        pytest.param(changed(width=0), "entry 1: width is 0", id="no width"),
        pytest.param(changed(width=True), "entry 1: width is True", id="bool width"),
        pytest.param(without("height"), "entry 1: height is None", id="no height"),
        pytest.param(changed(pred_list={}), "entry 1: pred_list must be a list", id="object"),
        pytest.param(changed(pred_list=[3]), "pred_list must be a list of objects", id="numbers"),
        pytest.param(without("pred_list"), "entry 1: pred_list", id="no pred_list"),
        pytest.param(without("gt_mask"), "entry 1: gt_mask is missing", id="no truth"),
        pytest.param(changed(caption=[]), "entry 1: caption is", id="no text"),
        pytest.param(changed(caption=[3]), "entry 1: caption is", id="numbers for texts"),
        pytest.param(changed(caption={"a": 1}), "entry 1: caption is", id="object for texts"),
        pytest.param(changed(img_path=None), "entry 1: img_path is None", id="no image"),
        pytest.param(changed(target_id=3), "entry 1: target_id is 3", id="number for id"),
        pytest.param(changed(stop_reason="x"), "stop_reason is 'x', expected one of", id="reason"),
        pytest.param(changed(stop_reason=[]), "stop_reason is \\[\\]", id="no text for a reason"),
        pytest.param(changed(last_output=3), "entry 1: .* 3, expected text", id="last"),
        pytest.param(with_step(outputs=3), "entry 1: the text of step 1 is 3", id="outputs"),
        pytest.param(
            with_step(mask={**rle(2), "size": [5, 4]}),
            "entry 1, the mask of step 1: the mask is 4 x 5 pixels, the image 5 x 4",
            id="other size",
        ),
        pytest.param(
            with_step(mask={"counts": "zz", "size": [4, 5]}),
            "entry 1, the mask of step 1: malformed",
            id="damaged run lengths",
        ),
        pytest.param(with_step(mask="text"), "expected a list or an object", id="text for mask"),
        pytest.param(
            changed(gt_mask={"counts": [21], "size": [4, 5]}),
            "entry 1, gt_mask: .*more than the image.s 20",
            id="runs",
        ),
        pytest.param(
            changed(ignore_mask={**rle(1), "size": [4, 4]}), "entry 1, ignore_mask", id="ignored"
        ),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: Any, match: str) -> None:
    path = write(tmp_path, foreign_entry(), entry)
    with pytest.raises(DataError, match=match) as error:
        read_predictions(path)
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not JSON"),
        (b"[{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"{}", "holds a JSON dict; expected a list"),
        (b"null", "holds a JSON NoneType; expected a list"),
        (b"[]", "holds an empty list"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(
    tmp_path: Path, content: bytes, match: str
) -> None:
    path = tmp_path / "predictions.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_predictions(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json cannot be read"):
        read_predictions(str(tmp_path / "absent.json"))


def test_two_entries_with_one_id_are_refused(tmp_path: Path) -> None:
    entry = {**foreign_entry(), "target_id": "t"}
    with pytest.raises(DataError, match="entries 0 and 1 have the same target_id, 't'"):
        read_predictions(write(tmp_path, entry, entry))


def first_columns(count: int) -> Mask:
    return builders.columns(count, size_hw=(4, 4))


def make_scored(*, setup: bool = False, last: str | None = None) -> Trajectory:
    said = parse_action(last or "", size_hw=(4, 4), codec=build_codec("thousandths"))
    answers = (
        None if setup else "Current IOU: 0.0, Positive point: (1, 2)",
        "Current IOU: 40.0, Positive point: (1, 2)",
    )
    return builders.trajectory(
        builders.target(first_columns(4)),
        builders.step(
            first_columns(1),
            iou=0.25,
            is_initial=setup,
            answer=answers[0],
            predicted_iou=None if setup else 0.0,
        ),
        builders.step(first_columns(2), Click(0, 1, True), answer=answers[1], predicted_iou=0.4),
        stop_reason=StopReason.INVALID_ACTION,
        last_answer=last,
        last_predicted_iou=said.predicted_iou,
    )


@pytest.mark.parametrize(
    "last",
    [
        "Current IOU: 99.0 Positive point: (1, 2)",
        "So. Current IOU: 99.0, Finish",
        "Current IOU: 99.0",
    ],
)
def test_a_file_picks_the_mask_that_its_rollout_picked(tmp_path: Path, last: str) -> None:
    t = make_scored(last=last)
    path = tmp_path / "p.json"
    path.write_bytes(predictions_json([t]))
    (one,) = read_predictions(str(path))
    assert choose_mask(one.rollout, "best-scored") == choose_mask(rolled_out(t), "best-scored")


def test_initial_clicks_are_none_of_the_policy_s_in_the_file_either(tmp_path: Path) -> None:
    t = make_scored(setup=True)
    path = tmp_path / "p.json"
    path.write_bytes(predictions_json([t]))
    (one,) = read_predictions(str(path))
    assert one.rollout.first_click == rolled_out(t).first_click == 1


@pytest.mark.parametrize("unused", [False, [], 0, ""])
def test_a_box_that_was_not_used_sets_nothing_up(tmp_path: Path, unused: Any) -> None:
    (entry,) = json.loads(predictions_json([make_scored()]))
    for step in entry["pred_list"]:
        step.pop("is_initial", None)
        step.update(used_box=unused, clicks=[])
    path = tmp_path / "p.json"
    path.write_text(json.dumps([entry]))
    assert read_predictions(str(path))[0].rollout.first_click == 0


def test_too_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match="is not JSON"):
        read_predictions(str(path))


def edited() -> Trajectory:
    """A click, a box, both taken back, and another click."""
    actions = (Click(4, 1, True), Box(0, 1, 3, 4), Undo(), Undo(), Click(0, 3, False))
    steps = [builders.step(square(2), action, is_initial=False) for action in actions]
    return builders.trajectory(builders.target(square(3), "t@0"), *steps)


def test_what_was_taken_back_is_in_no_later_entry_and_the_actions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_bytes(predictions_json([edited()]))
    (entry,) = json.loads(path.read_bytes())
    assert [len(step["clicks"]) for step in entry["pred_list"]] == [1, 1, 1, 0, 1]
    assert [step["used_box"] is not None for step in entry["pred_list"]] == [0, 1, 0, 0, 0]
    assert ["is_undo" in step for step in entry["pred_list"]] == [0, 0, 1, 1, 0]
    assert read_actions(str(path)) == {"t@0": tuple(s.action for s in edited().steps)}
    (read,) = read_predictions(str(path))
    assert (read.rollout.undos, read.rollout.first_click) == (2, 0)
    assert rolled_out(edited()).undos == 2


@pytest.mark.parametrize("step", [0, 2])
def test_an_undo_that_takes_back_something_else_is_refused(tmp_path: Path, step: int) -> None:
    path = tmp_path / "predictions.json"
    entries = json.loads(predictions_json([edited()]))
    entries[0]["pred_list"][step].update(clicks=[], is_undo=True)
    path.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=f"the clicks and the box of step {step} are not those of"):
        read_actions(str(path))
