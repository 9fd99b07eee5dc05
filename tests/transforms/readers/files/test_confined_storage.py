from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.readers.files.confined_storage import ConfinedStorage
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from reader_fixtures import SQUARE, as_json, assert_all_load, image, reasons, split_items


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with links of every kind, and everything next to it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "b").write_bytes(b"outside")
    os.symlink("sub/a", root / "inner")
    os.symlink("../secret", root / "outer")
    os.symlink(tmp_path / "rooted", root / "folder")
    return root


def test_links_that_stay_inside_are_followed(root: Path) -> None:
    storage = ConfinedStorage(LocalStorage(), str(root))
    assert storage.read_bytes(f"{root}/inner") == b"inside"
    assert storage.list_dir(str(root)) == ["folder/", "inner", "outer", "sub/"]
    os.symlink(root, root.parent / "link")
    linked = ConfinedStorage(LocalStorage(), f"{root.parent}/link")
    assert linked.read_bytes(f"{root.parent}/link/sub/a") == b"inside"
    assert pickle.loads(pickle.dumps(storage)) == storage


@pytest.mark.parametrize("name", ["outer", "folder/b", "../secret", "sub/../../secret"])
def test_links_that_lead_out_are_not(root: Path, name: str) -> None:
    storage = ConfinedStorage(LocalStorage(), str(root))
    with pytest.raises(TargetError, match=r"outside of the data root .*add --follow") as error:
        storage.read_bytes(f"{root}/{name}")
    assert error.value.reason is RejectReason.PATH_ESCAPES_ROOT
    with pytest.raises(TargetError, match="is a link to"):
        storage.list_dir(f"{root}/folder")


def open_linked(root: Path, *, follow_links: bool) -> DatasetReader:
    """Write an instances file next to a link to the folder of its images."""
    (root / "annotations").mkdir()
    (root.parent / "rooted" / "a.jpg").write_bytes(image())
    os.symlink(root.parent / "rooted", root / "val2017")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}],
        "categories": [{"id": 1, "name": "cup"}],
    }
    (root / "annotations" / "instances_val2017.json").write_bytes(as_json(content))
    return open_reader("coco", ReaderOptions(str(root), follow_links=follow_links))


def test_a_reader_says_how_to_follow_them(root: Path) -> None:
    refs, rejects = split_items(open_linked(root, follow_links=False))
    assert not refs
    assert reasons(rejects) == ["path_escapes_root"]
    assert "add --follow-links" in rejects[0].message


def test_a_reader_follows_them_if_it_is_told_to(root: Path) -> None:
    reader = open_linked(root, follow_links=True)
    refs, _ = split_items(reader)
    assert_all_load(reader, refs)
