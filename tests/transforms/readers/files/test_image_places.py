from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import join_under
from hlmat.transforms.readers.files.image_places import ImagePlaces
from reader_fixtures import memory

FOLDERS = ["val2017", "images", ""]


def places(*files: str, names: list[str]) -> ImagePlaces:
    storage = memory(dict.fromkeys(files, b"x"))
    return ImagePlaces(storage, "data", folders=FOLDERS, names=names)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "images/a.jpg"),
        ("sub/a.jpg", "images/sub/a.jpg"),
        ("images\\x 1.jpg", "images/x 1.jpg"),
        (".\\images\\sub\\a.jpg", "images/sub/a.jpg"),
        ("a\\b.jpg", "images/a\\b.jpg"),
        ("sub/../a.jpg", "images/a.jpg"),
        ("%2e%2e/a.jpg", "images/%2e%2e/a.jpg"),
        ("0a1b2c3d-cat.jpg", "images/cat.jpg"),
        ("images\\0a1b2c3d-cat.jpg", "images/cat.jpg"),
        ("COCO_train2014_000000000042.jpg", "images/train2017/000000000042.jpg"),
        ("COCO_val2014_000000000042.jpg", "val2017/000000000042.jpg"),
        ("000000000042.jpg", "images/mscoco/images/train2014/COCO_train2014_000000000042.jpg"),
        ("train2017/000000000042.jpg", "train2014/COCO_train2014_000000000042.jpg"),
        ("COCO_train2014_000000000042.jpg", "images/000000000042.jpg"),
    ],
)
def test_where_a_name_leads(name: str, file: str) -> None:
    assert places(file, names=[name]).find(name) == file


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../x.jpg",
            "..\\..\\label-studio\\upload\\4\\x.jpg",
            "/x.jpg",
            "C:\\x.jpg",
            "c:x.jpg",
        ),
        *("\\\\host\\share\\x.jpg", "//host/x.jpg", "\\x.jpg", "a\\b/../../../x.jpg"),
        *("a\\..\\../..\\x.jpg", "http://host/x.jpg", "..\\C:\\x.jpg", "a\0b.jpg"),
    ],
)
def test_names_that_leave_the_root(name: str) -> None:
    with pytest.raises(TargetError, match="leads out of") as caught:
        places("val2017/a.jpg", names=["a.jpg", name]).find(name)
    assert caught.value.reason is RejectReason.PATH_ESCAPES_ROOT


@given(st.text(alphabet="./\\ab:", max_size=12))
def test_no_path_leaves_the_root(name: str) -> None:
    try:
        path = places("images/a/b", names=["a/b", name]).find(name)
    except TargetError:
        return
    assert join_under("data", path).startswith("data/")


def test_an_image_that_is_nowhere_has_the_path_where_it_should_be() -> None:
    assert places("images/a.jpg", names=["a.jpg"]).find("b\\c.jpg") == "images/b/c.jpg"
    assert places(names=["a.jpg"]).find("a.jpg") == "val2017/a.jpg"


def test_an_upload_s_prefix_is_left_out_only_if_that_leaves_no_doubt() -> None:
    names = ["0a1b2c3d-cat.jpg", "ffffffff-cat.jpg", "ffffffff-dog.jpg", "dog.jpg", "01234567-.jpg"]
    found = places("images/cat.jpg", "images/dog.jpg", names=names)
    assert [found.find(name) for name in names[:4]] == [
        "images/0a1b2c3d-cat.jpg",
        "images/ffffffff-cat.jpg",
        "images/ffffffff-dog.jpg",
        "images/dog.jpg",
    ]


def test_names_of_others_are_no_names_of_coco() -> None:
    found = places("images/a.jpg", "train2017/000000000007.jpg", names=["a.jpg", "7.jpg"])
    assert found.find("7.jpg") == "images/7.jpg"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "images/A.JPG"),
        ("x%201.jpg", "images/x 1.jpg"),
        ("sub\\é.jpg", "images/sub/e\u0301.jpg"),
        ("images/B.Jpg", "images/b.jpg"),
    ],
)
def test_another_spelling(name: str, file: str) -> None:
    assert places(file, names=[name]).find(name) == file


def test_another_spelling_is_taken_only_without_doubt() -> None:
    assert places("images/a.JPG", names=["a.jpg", "A.jpg"]).find("a.jpg") != "images/a.JPG"
    found = places("images/a.JPG", "images/A.jpg", names=["a.jpg"]).find("a.jpg")
    assert found not in ("images/a.JPG", "images/A.jpg")
    assert ".." not in places("x.jpg", names=["%2e%2e%2fx.jpg"]).find("%2e%2e%2fx.jpg").split("/")
