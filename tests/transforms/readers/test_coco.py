from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader, HasRemarks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import (
    SQUARE,
    as_json,
    assert_all_load,
    image,
    memory,
    reasons,
    split_items,
    truth_error,
    turned_image,
)

IMAGE = {"id": 1, "file_name": "a b#1.jpg", "height": 6, "width": 8}
CATEGORIES = [{"id": 3, "name": "dining_table"}]


def annotation(number: object, **changes: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": 3, "segmentation": [SQUARE], **changes}


def open_instances(
    annotations: object, *, images: object = None, folder: str = "val2017", name: str = "a b#1.jpg"
) -> DatasetReader:
    content = {
        "images": [IMAGE] if images is None else images,
        "annotations": annotations,
        "categories": CATEGORIES,
    }
    files = {
        "annotations/instances_val2017.json": as_json(content),
        f"{folder}/{name}".lstrip("/"): image(),
    }
    return open_reader("coco", ReaderOptions("data", storage=memory(files)))


@pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images", ""])
def test_where_the_images_may_lie(folder: str) -> None:
    reader = open_instances([annotation(5)], folder=folder)
    refs, rejects = split_items(reader)
    assert not rejects
    assert refs[0].image_path == f"{folder}/a b#1.jpg".lstrip("/")
    assert refs[0].expressions == ("dining table",)
    assert_all_load(reader, refs)


@pytest.mark.parametrize(
    ("file", "image_file", "split"),
    [
        ("train/_annotations.coco.json", "train/a b#1.jpg", "train"),
        ("_annotations.coco.json", "a b#1.jpg", "exported"),
        ("annotations/instances_default.json", "images/a b#1.jpg", "default"),
        ("annotations/instances_default.json", "images/default/a b#1.jpg", "default"),
        ("result.json", "images/a b#1.jpg", "all"),
    ],
)
def test_exports_of_annotation_tools(file: str, image_file: str, split: str) -> None:
    content = {"images": [IMAGE], "annotations": [annotation(5)], "categories": CATEGORIES}
    storage = memory({file: as_json(content), image_file: image()})
    for asked in (None, split):
        reader = open_reader("coco", ReaderOptions("data", asked, storage))
        assert reader.split == split
        refs, rejects = split_items(reader)
        assert not rejects
        assert refs[0].target_id == f"coco/{split}/5"
        assert_all_load(reader, refs)
    named = open_reader("coco", ReaderOptions("data", storage=storage, annotations=file))
    assert [ref.image_path for ref in split_items(named)[0]] == [image_file]


def test_images_beside_their_file_come_before_those_of_other_splits() -> None:
    content = {"images": [IMAGE], "annotations": [annotation(5)], "categories": CATEGORIES}
    names = ["val2017/a b#1.jpg", "images/a b#1.jpg", "test/a b#1.jpg"]
    storage = memory({"test/own.json": as_json(content)} | {name: image() for name in names})
    options = ReaderOptions("data", storage=storage, annotations="test/own.json")
    assert split_items(open_reader("coco", options))[0][0].image_path == "test/a b#1.jpg"


def test_text_ids() -> None:
    image = {**IMAGE, "id": "1541715161404"}
    numbers = {"image_id": "1541715161404"}
    annotations = [annotation(2, **numbers), {**annotation(0, **numbers), "id": "a-7"}]
    annotations.append({**annotation(0, image_id=1541715161404), "id": "10"})
    refs, rejects = split_items(open_instances(annotations, images=[image]))
    assert not rejects
    assert [r.target_id for r in refs] == [f"coco/val2017/{i}" for i in ("2", "10", "a-7")]
    assert {r.image_id for r in refs} == {1541715161404}
    refs, _ = split_items(open_instances([annotation(1, category_id="3")]))
    assert refs[0].expressions == ("dining table",)


def test_an_image_s_id_that_two_images_have() -> None:
    other = {**IMAGE, "file_name": "b.jpg"}
    items = [annotation(5), annotation(6, image_id=2)]
    images = [IMAGE, other, {**IMAGE, "id": 2}, {**IMAGE, "id": "2", "license": 4}]
    refs, rejects = split_items(open_instances(items, images=images))
    # An entry that is there twice is one image.
    assert [r.target_id for r in refs] == ["coco/val2017/6"]
    assert reasons(rejects) == ["duplicate_id"]
    assert rejects[0].message == (
        "annotation 5 is of image 1, an id that 2 entries have ('a b#1.jpg', 'b.jpg'), so the "
        "annotation is ambiguous; give each image a unique id"
    )
    sizes = [IMAGE, {**IMAGE, "height": 7}]
    assert reasons(split_items(open_instances([annotation(5)], images=sizes))[1]) == [
        "duplicate_id"
    ]


def test_of_annotations_with_one_id_the_first_in_the_file_counts() -> None:
    images = [IMAGE, {**IMAGE, "id": 2}]
    items = [annotation(5, image_id=2), annotation(5), annotation("5"), annotation(6)]
    refs, rejects = split_items(open_instances(items, images=images))
    assert [(r.target_id, r.image_id) for r in refs] == [
        ("coco/val2017/6", 1),
        ("coco/val2017/5", 2),
    ]
    assert [r.message for r in rejects] == ["annotation id 5 occurs again; the first counts"] * 2


@pytest.mark.parametrize("height", [6.0, 6])
def test_whole_numbers_as_floats(height: float) -> None:
    items = open_instances([annotation(5.0)], images=[{**IMAGE, "id": 1.0, "height": height}])
    refs, rejects = split_items(items)
    assert not rejects
    assert refs[0].target_id == "coco/val2017/5"
    assert_all_load(items, refs)


@pytest.mark.parametrize("height", [6.5, float("nan"), float("inf"), "6", None, 0, -6, True])
def test_sizes_that_are_none(height: object) -> None:
    _, rejects = split_items(open_instances([annotation(5)], images=[{**IMAGE, "height": height}]))
    assert reasons(rejects) == ["malformed_entry"]
    assert f"has the height {height!r} and the width 8" in rejects[0].message


def test_entries_of_one_file_are_one_image() -> None:
    captions = ["left one", "red one", "all of it"]
    images = [{**IMAGE, "id": i, "caption": text} for i, text in enumerate(captions)]
    images.insert(1, {"id": 7, "file_name": "other.jpg", "height": 6, "width": 8})
    items = [annotation(i, image_id=number) for i, number in enumerate((0, 7, 1, 2))]
    refs, rejects = split_items(open_instances(items, images=images))
    assert not rejects
    assert [(r.image_path[-9:], r.object_id, r.expressions) for r in refs] == [
        ("a b#1.jpg", 0, ("left one",)),
        ("a b#1.jpg", 1, ("red one",)),
        ("a b#1.jpg", 2, ("all of it",)),
        ("other.jpg", 0, ("dining table",)),
    ]


def test_categories_in_doubt() -> None:
    content = {
        "images": [IMAGE],
        "annotations": [annotation(5), annotation(6, category_id=4)],
        "categories": [*CATEGORIES, {"id": "3", "name": "cup"}, {"id": 4, "name": " \n"}],
    }
    files = {"annotations/instances_val2017.json": as_json(content)}
    reader = open_reader("coco", ReaderOptions("data", storage=memory(files)))
    _, rejects = split_items(reader)
    assert reasons(rejects) == ["duplicate_id", "malformed_entry"]
    assert "the category 3, an id of several: dining table, cup" in rejects[0].message


def test_lvis() -> None:
    image = {
        "id": 391895,
        "coco_url": "http://images.example.org/train2017/000000391895.jpg",
        "height": 6,
        "width": 8,
    }
    reader = open_instances(
        [annotation(5, image_id=391895)],
        images=[image],
        folder="train2017",
        name="000000391895.jpg",
    )
    refs, rejects = split_items(reader)
    assert not rejects
    assert refs[0].image_path == "train2017/000000391895.jpg"
    assert_all_load(reader, refs)


@pytest.mark.parametrize(
    ("orientation", "size_hw", "shape", "drawn_hw"),
    [
        (1, (6, 8), SQUARE, (6, 8)),
        (6, (8, 6), SQUARE, (8, 6)),
        (6, (6, 8), [0, 0, 8, 0, 8, 5], (6, 8)),
        (6, (6, 8), [0, 0, 5, 0, 5, 8], (8, 6)),
        (6, (6, 8), SQUARE, None),
        (3, (6, 8), [0, 0, 8, 0, 8, 5], None),
    ],
)
def test_images_that_their_exif_tag_turns(
    orientation: int, size_hw: tuple[int, int], shape: list[int], drawn_hw: tuple[int, int] | None
) -> None:
    content = {
        "images": [{**IMAGE, "height": size_hw[0], "width": size_hw[1]}],
        "annotations": [annotation(5, segmentation=[SQUARE]), annotation(6, segmentation=[shape])],
        "categories": CATEGORIES,
    }
    files = {
        "annotations/instances_val2017.json": as_json(content),
        "val2017/a b#1.jpg": turned_image((6, 8), orientation),
    }
    reader = open_reader("coco", ReaderOptions("data", storage=memory(files)))
    refs, _ = split_items(reader)
    if drawn_hw is None:
        error = truth_error(reader, refs[0])
        assert error.reason is RejectReason.SIZE_MISMATCH
        return
    assert reader.load_truth(refs[0]).truth.shape == drawn_hw
    assert_all_load(reader, refs)


def test_images_of_coco_are_taken_as_they_are_stored() -> None:
    name = "000000000042.jpg"
    content = {
        "images": [{**IMAGE, "file_name": name}],
        "annotations": [annotation(5)],
        "categories": CATEGORIES,
    }
    files = {
        "annotations/instances_val2017.json": as_json(content),
        f"val2017/{name}": turned_image((6, 8), 3),
    }
    reader = open_reader("coco", ReaderOptions("data", storage=memory(files)))
    assert_all_load(reader, split_items(reader)[0])


def test_what_cannot_be_used_is_rejected() -> None:
    escaping = {"id": 2, "file_name": "../../secret.jpg", "height": 6, "width": 8}
    nameless = {"id": 3, "height": 6, "width": 8}
    sizeless = {"id": 4, "file_name": "c.jpg", "height": "6", "width": 8}
    refs, rejects = split_items(
        open_instances(
            [
                annotation(1),
                annotation(1),
                annotation(2, iscrowd=1, segmentation={"size": [6, 8], "counts": [48]}),
                annotation(3, image_id=77),
                annotation(4, category_id=77),
                annotation(5, image_id=2),
                annotation(6, image_id=3),
                annotation(7, image_id=4),
                annotation(8, image_id=[1]),
                annotation(9, category_id={}),
                "no annotation",
                {"image_id": 1},
            ],
            images=[IMAGE, escaping, nameless, sizeless, "no image"],
        )
    )
    assert [ref.target_id for ref in refs] == ["coco/val2017/1"]
    assert sorted(reasons(rejects)) == sorted(
        ["duplicate_id", "crowd", "path_escapes_root"]
        + ["missing_annotation"] * 2
        + ["malformed_entry"] * 6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 1}, "annotation id 1 occurs again; the first counts"),
        ({"id": " "}, "an annotation has neither a whole number nor a text as id: {'id': ' '"),
        ({"iscrowd": 1}, "annotation 2 covers a crowd, not one object"),
        ({"image_id": 77}, "annotation 2 is of image 77, which is not listed"),
        ({"category_id": 77}, "annotation 2 has the category 77, which has no name in the file"),
        ({"image_id": 2}, "'val2017/../../secret.jpg' leads out of"),
        ({"image_id": 3}, "image 3 has neither a file_name nor a coco_url"),
        ({"image_id": 4}, "annotation 2: its image has the height '6' and the width 8; expected"),
    ],
)
def test_what_rejects_say(changes: dict[str, Any], message: str) -> None:
    images = [
        IMAGE,
        {"id": 2, "file_name": "../../secret.jpg", "height": 6, "width": 8},
        {"id": 3, "height": 6, "width": 8},
        {"id": 4, "file_name": "c.jpg", "height": "6", "width": 8},
    ]
    items = open_instances([annotation(1), {**annotation(2), **changes}], images=images)
    _, rejects = split_items(items)
    assert len(rejects) == 1
    assert message in rejects[0].message


def test_objects_are_numbered_within_their_image() -> None:
    refs, _ = split_items(open_instances([annotation(9), annotation(4), annotation(7)]))
    assert [(r.target_id[-1], r.object_id) for r in refs] == [("4", 0), ("7", 1), ("9", 2)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "image_id", "category_id", "segmentation", "iscrowd", "file_name", "height"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=3))
def test_any_json_is_listed_or_rejected(annotations: list[Any], images: list[Any]) -> None:
    items = list(open_instances(annotations, images=[IMAGE, *images]).read_targets())
    assert len(items) == len(annotations)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"[", "is not JSON"),
        (b"[]", "expected a list under 'images'"),
        (b'{"images": []}', "expected a list under 'categories'"),
        (b'{"images": [], "categories": []}', "expected a list under 'annotations'"),
    ],
)
def test_the_file_itself(data: bytes, match: str) -> None:
    storage = memory({"own/x.json": data})
    reader = open_reader("coco", ReaderOptions("data", storage=storage, annotations="own/x.json"))
    with pytest.raises(DataError, match=rf"x\.json.*{match}"):
        list(reader.read_targets())


def test_layout() -> None:
    storage = memory({"annotations/captions.json": b""})
    with pytest.raises(LayoutError, match=r"--annotations.*annotations/: captions\.json"):
        open_reader("coco", ReaderOptions("data", storage=storage))


def test_true_instances(shared_data: Path) -> None:
    options = ReaderOptions(
        str(shared_data / "refcoco_mini"), "train2014", annotations="refcoco/instances.json"
    )
    refs, rejects = split_items(open_reader("coco", options))
    assert len(refs) == 7
    assert not rejects


@pytest.mark.parametrize(("split", "found"), [("val", "val2017"), ("train", "train2014")])
def test_a_split_without_its_year_is_found(split: str, found: str) -> None:
    content = {"images": [IMAGE], "annotations": [annotation(5)], "categories": CATEGORIES}
    files = {
        f"annotations/instances_{found}.json": as_json(content),
        f"{found}/a b#1.jpg": image(),
    }
    (ref,), _ = split_items(
        open_reader("coco", ReaderOptions("data", split=split, storage=memory(files)))
    )
    assert (ref.split, ref.target_id) == (found, f"coco/{found}/5")


def test_polygons_in_percent_are_rejected_or_remarked_on() -> None:
    large = {**IMAGE, "height": 480, "width": 640}
    reader = open_instances([annotation(5)], images=[large])
    assert isinstance(reader, HasRemarks)
    split_items(reader)
    (remark,) = reader.remarks()
    assert "instances_val2017.json: all 1 polygons of the file lie within the first 100" in remark
    square = [[10, 20, 50, 20, 50, 60, 10, 60]]
    boxed = annotation(5, segmentation=square, bbox=[64, 96, 256, 192])
    _, (reject,) = split_items(open_instances([boxed], images=[large]))
    assert reject.reason is RejectReason.MALFORMED_SEGMENTATION
    assert "fits them as percent of the image's 640 x 480 pixels" in reject.message


def test_the_files_of_other_jobs_are_reported() -> None:
    content = {"images": [IMAGE], "annotations": [annotation(5)], "categories": CATEGORIES}
    files = {
        f"annotations/instances_{job}.json": as_json(content) for job in ("default", "job2")
    } | {"images/a b#1.jpg": image()}
    reader = open_reader("coco", ReaderOptions("data", storage=memory(files)))
    assert isinstance(reader, HasRemarks)
    assert reader.remarks() == [
        "annotations/instances_job2.json is not read: annotations/instances_default.json is; name "
        "it with --annotations for a run of its own"
    ]


@pytest.mark.parametrize("split", ["val", "validation"])
def test_roboflow_s_name_of_the_validation_split(split: str) -> None:
    content = {"images": [IMAGE], "annotations": [annotation(5)], "categories": CATEGORIES}
    files = {"valid/_annotations.coco.json": as_json(content), "valid/a b#1.jpg": image()}
    options = ReaderOptions("data", split=split, storage=memory(files))
    (ref,), _ = split_items(open_reader("coco", options))
    assert (ref.split, ref.image_path) == ("valid", "valid/a b#1.jpg")


def test_a_caption_of_several_annotations_is_reported() -> None:
    captioned = {**IMAGE, "caption": "two tables"}
    reader = open_instances([annotation(5), annotation(6)], images=[captioned])
    assert isinstance(reader, HasRemarks)
    refs, _ = split_items(reader)
    assert [ref.expressions for ref in refs] == [("dining table",)] * 2
    assert reader.remarks() == [
        "data/annotations/instances_val2017.json: a caption is not used, since several annotations "
        "have no caption of their own there: a b#1.jpg; give annotations a caption, or "
        "tokens_positive"
    ]
    own = open_instances([annotation(5, caption="a"), annotation(6, caption="b")], images=[IMAGE])
    assert isinstance(own, HasRemarks)
    split_items(own)
    assert own.remarks() == []


@pytest.mark.parametrize("value", ["0", " 0 ", "false", "", 0, 0.0, False, None])
def test_a_number_as_text_is_no_crowd(value: object) -> None:
    refs, _ = split_items(open_instances([annotation(1, iscrowd=value)]))
    assert [ref.target_id for ref in refs] == ["coco/val2017/1"]


def test_a_box_apart_from_its_polygons_is_remarked_on() -> None:
    reader = open_instances([annotation(1, bbox=[7, 5, 1, 1]), annotation(2, bbox=[1, 1, 4, 3])])
    assert len(split_items(reader)[0]) == 2
    assert isinstance(reader, HasRemarks)
    (remark,) = reader.remarks()
    assert "instances_val2017.json: an annotation has a bbox that does not overlap" in remark
    assert remark.endswith("without the other: 1; check these objects with `hlmat view`")
