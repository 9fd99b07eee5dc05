from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

import builders
import record_strategies
from hlmat.export.formats.trace import trajectory_to_record, write_trace
from hlmat.transforms.core.errors import DataError, OutputError, TargetError
from hlmat.transforms.core.records import Box, Click, StopReason, Trajectory, Undo
from hlmat.transforms.readers.trace.records import (
    check_record,
    iter_trace_records,
    record_to_trajectory,
)

HEIGHT, WIDTH = 3, 5

texts = st.text(max_size=8).filter(lambda text: "\0" not in text)
unicode_texts = st.text(st.characters(codec="utf-8"), max_size=8)
integers = st.integers(-(2**31), 2**31 - 1)
ids = st.integers(0, 2**31 - 1)
fractions = st.floats(0, 1)
masks = record_strategies.rles((HEIGHT, WIDTH))
boxes = st.sampled_from([Box(0, 0, 2, 2), Box(-1, 1, 9, 3)])
trajectories = record_strategies.trajectories(
    record_strategies.target_refs(unicode_texts, image_ids=ids, object_ids=ids),
    masks,
    record_strategies.steps(
        masks,
        actions=record_strategies.clicks_within((HEIGHT, WIDTH)) | boxes,
        iou=fractions,
        gain=st.floats(-1, 1),
        score=st.none() | st.floats(allow_nan=False),
    ),
    texts=unicode_texts,
    seeds=integers,
    stop_reasons=st.sampled_from([r for r in StopReason if r is not StopReason.UNRECORDED]),
)

rles = masks.map(lambda rle: {"counts": rle.counts, "size": list(rle.size_hw)})
junk = st.dictionaries(st.sampled_from(["note", "uid"]), st.none() | integers | texts, max_size=2)


@st.composite
def foreign_records(draw: st.DrawFn) -> dict[str, Any]:
    """Records as others write them: odd boxes and areas, missing and unknown keys."""
    size = {"height": HEIGHT, "width": WIDTH}
    optional = st.fixed_dictionaries(
        {},
        optional={
            "box": st.lists(st.floats(0, 5), min_size=4, max_size=4),
            "area": integers,
            "idx": integers,
        },
    )
    entries = [
        {
            "coor": [draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))],
            "is_positive": draw(st.booleans() | st.sampled_from([0, 1])),
            "mask": draw(rles),
            "iou": draw(fractions | st.sampled_from([0, 1])),
            **draw(optional),
            **draw(junk),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    truth = {
        "caption": draw(texts | st.lists(texts, min_size=1, max_size=2)),
        "segmentation": draw(rles),
        **draw(st.fixed_dictionaries({}, optional={"object_id": ids, "bbox": st.none()})),
        **draw(junk),
    }
    return {
        "image_name": draw(texts | ids),
        **size,
        "gt_ann": truth,
        "clicks_list": entries,
        **draw(junk),
    }


def make_trajectory(image: str = "a.jpg", number: int = 0) -> Trajectory:
    truth = np.zeros((HEIGHT, WIDTH), dtype=bool)
    truth[1:, 1:4] = True
    half = truth.copy()
    half[2] = False
    return builders.trajectory(
        builders.target(truth, f"{image}/{number}", image_path=image, object_id=number),
        builders.step(half, Box(0, 0, 5, 3), iou=0.5, gain=0.5),
        builders.step(truth, Click(2, 1, True), iou=1.0, gain=0.5, score=0.9),
        stop_reason=StopReason.REACHED_IOU,
    )


@given(trajectories)
def test_our_trajectories_survive_a_trace(trajectory: Trajectory) -> None:
    record = json.loads(json.dumps(trajectory_to_record(trajectory)))
    check_record(record, where="data[0]")
    assert record_to_trajectory(record) == trajectory


@given(foreign_records())
def test_foreign_records_are_written_as_they_were(record: dict[str, Any]) -> None:
    check_record(record, where="data[0]")
    trajectory = record_to_trajectory(record, dataset="refcoco", split="val")
    written = json.dumps(trajectory_to_record(trajectory), sort_keys=True)
    assert written == json.dumps(record, sort_keys=True)


@given(foreign_records())
def test_foreign_records_are_read_alike_after_writing(record: dict[str, Any]) -> None:
    trajectory = record_to_trajectory(record)
    assert record_to_trajectory(trajectory_to_record(trajectory)) == trajectory


def test_record_has_the_reference_s_fields() -> None:
    trajectory = make_trajectory()
    record = trajectory_to_record(trajectory)
    assert list(record)[:5] == ["image_name", "height", "width", "gt_ann", "clicks_list"]
    assert record["image_name"] == "a.jpg"
    assert record["gt_ann"]["bbox"] == [1, 1, 3, 2]
    assert record["gt_ann"]["area"] == 6
    (click,) = record["clicks_list"]
    assert list(click) == ["idx", "coor", "is_positive", "mask", "box", "area", "iou"]
    assert click["coor"] == [1, 2]  # row, column
    assert coco_mask.decode(click["mask"])[tuple(click["coor"])] == 1


def test_an_image_with_a_coco_id_goes_by_it() -> None:
    trajectory = make_trajectory()
    ref = dataclasses.replace(trajectory.target.ref, image_id=42)
    target = dataclasses.replace(trajectory.target, ref=ref)
    record = trajectory_to_record(dataclasses.replace(trajectory, target=target))
    assert record["image_name"] == 42


def test_a_written_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trace.json"
    wanted = [make_trajectory("a.jpg", 0), make_trajectory("a.jpg", 1), make_trajectory("b.jpg")]
    assert write_trace(iter(wanted), str(path), info={"max_clicks": 5}) == 3
    assert json.loads(path.read_text())["info"] == {"args": {"max_clicks": 5}}
    records = iter_trace_records(path.read_bytes(), name="trace.json")
    read = [record_to_trajectory(r) for r in records if not isinstance(r, TargetError)]
    assert read == wanted
    assert [p.name for p in path.parent.iterdir()] == ["trace.json"]


def test_no_trajectories_give_an_empty_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert write_trace([], str(path)) == 0
    assert json.loads(path.read_text()) == {"info": {"args": {}}, "data": []}


def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("before")

    def failing() -> Any:
        yield make_trajectory()
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write the trace .*No space left.*give a path"):
        write_trace(failing(), str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json"]
    assert path.read_text() == "before"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write the trace .*file/trace\.json"):
        write_trace([], str(tmp_path / "file" / "trace.json"))


def test_an_image_that_comes_back_is_refused(tmp_path: Path) -> None:
    mixed = [make_trajectory("a.jpg"), make_trajectory("b.jpg"), make_trajectory("a.jpg", 1)]
    with pytest.raises(OutputError, match=r"'a\.jpg' are not adjacent.*'a\.jpg/1'"):
        write_trace(mixed, str(tmp_path / "trace.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_earlier_spelling_of_a_private_key_is_read() -> None:
    trajectory = make_trajectory()
    record = copy.deepcopy(trajectory_to_record(trajectory))
    record["hlmat"]["licence"] = record["hlmat"].pop("license")
    assert record_to_trajectory(record) == trajectory


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema_version", 9, "schema version 9, expected 6"),
        ("stop_reason", "bored", "'bored' is not a valid StopReason"),
        ("seed", ..., "KeyError: 'seed'"),
        ("steps", [], "1 of the clicks in clicks_list have no step"),
        ("steps", [{"kind": "click"}] * 2, "IndexError"),
        ("ignore_rle", "0", "a mask cannot be used: its runs cover 0 pixels"),
        ("initial_rle", "0", "a mask cannot be used: its runs cover 0 pixels"),
    ],
)
def test_a_changed_private_part_is_named(path: str, value: Any, message: str) -> None:
    record = copy.deepcopy(trajectory_to_record(make_trajectory()))
    if value is ...:
        del record["hlmat"][path]
    else:
        record["hlmat"][path] = value
    with pytest.raises(TargetError, match=r"image 'a\.jpg' has a key 'hlmat'") as caught:
        record_to_trajectory(record)
    assert message in caught.value.message


def test_a_foreign_trajectory_needs_its_own_truth_ref() -> None:
    trajectory = dataclasses.replace(make_trajectory(), stop_reason=StopReason.UNRECORDED)
    with pytest.raises(DataError, match=r"'a\.jpg/0' is marked as read from a trace"):
        trajectory_to_record(trajectory)


def test_a_step_back_has_no_place_in_a_trace(tmp_path: Path) -> None:
    mask = np.ones((HEIGHT, WIDTH), np.bool_)
    steps = [builders.step(mask, action) for action in (Click(0, 0, True), Undo())]
    of = builders.trajectory(builders.target(mask, "t7"), *steps)
    with pytest.raises(DataError, match=r"target 't7' takes an action back in step 2.*--exclude"):
        write_trace([of], str(tmp_path / "trace.json"))
    assert list(tmp_path.iterdir()) == []
