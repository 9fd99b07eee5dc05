from __future__ import annotations

from pathlib import Path

import pytest

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import assert_all_load, image, mask_image, memory, reasons, split_items


@pytest.mark.parametrize(
    ("name", "folder", "count"),
    [("grabcut", "GrabCut", 20), ("davis", "DAVIS", 14), ("coco_mval", "COCO_MVal", 80)],
)
@pytest.mark.parametrize("is_parent", [True, False])
def test_real_samples(
    shared_data: Path, name: str, folder: str, count: int, *, is_parent: bool
) -> None:
    root = shared_data / "iseg" / ("" if is_parent else folder)
    reader = open_reader(name, ReaderOptions(str(root)))
    refs, rejects = split_items(reader)
    assert not rejects
    assert len(refs) == count
    assert reader.split == "test"
    if is_parent:
        assert_all_load(reader, refs)


def test_grabcut_ignores_its_band(shared_data: Path) -> None:
    reader = open_reader("grabcut", ReaderOptions(str(shared_data / "iseg")))
    masks = [reader.load_truth(ref) for ref in split_items(reader)[0]]
    bands = [m.ignore for m in masks if m.ignore is not None and m.ignore.any()]
    assert len(bands) == 18


def test_classes_are_the_texts_of_coco_mval(shared_data: Path) -> None:
    reader = open_reader("coco_mval", ReaderOptions(str(shared_data / "iseg")))
    refs, _ = split_items(reader)
    by_name = {ref.image_name: ref.expressions for ref in refs}
    assert by_name["dining table05_000000419312.jpg"] == ("dining table",)


def test_berkeley() -> None:
    files = {"Berkeley/images/1.jpg": image(), "Berkeley/masks/1.png": mask_image()}
    files |= {"Berkeley/images/2.jpg": image(), "Berkeley/masks/3.png": mask_image()}
    reader = open_reader("berkeley", ReaderOptions("data", storage=memory(files)))
    refs, rejects = split_items(reader)
    assert_all_load(reader, refs)
    assert [ref.expressions for ref in refs] == [("the main object",)]
    assert reasons(rejects) == ["missing_mask", "missing_image"]


def test_suffixes_of_any_case() -> None:
    files = {"data_GT/a.JPG": image(), "boundary_GT/a.BMP": mask_image(kind="BMP")}
    reader = open_reader("grabcut", ReaderOptions("data", storage=memory(files)))
    assert_all_load(reader, split_items(reader)[0])


def test_layout_error() -> None:
    storage = memory({"a/b.jpg": b""})
    with pytest.raises(LayoutError, match=r"looked for GrabCut/data_GT.*found: a/"):
        open_reader("grabcut", ReaderOptions("data", storage=storage))


def test_there_is_only_one_split() -> None:
    with pytest.raises(ConfigError, match="choose from test"):
        open_reader("davis", ReaderOptions("data", "val", memory({})))
