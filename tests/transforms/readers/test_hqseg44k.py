from __future__ import annotations

from pathlib import Path

import pytest

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.readers.hqseg44k import COLLECTIONS, PARTS
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.terms import LICENSES
from reader_fixtures import assert_all_load, image, mask_image, memory, reasons, split_items

SAM_HQ_FOLDERS = {
    ("dis5k", "train"): ("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", "1#A#1#StreetLamp#9_o"),
    ("dis5k", "val"): ("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", "1#A#1#TV#9_o"),
    ("thinobject5k", "train"): (
        "thin_object_detection/ThinObject5K/images_train",
        "thin_object_detection/ThinObject5K/masks_train",
        "air_pump_PNG19",
    ),
    ("thinobject5k", "test"): (
        "thin_object_detection/ThinObject5K/images_test",
        "thin_object_detection/ThinObject5K/masks_test",
        "shower_PNG37 - Copy",
    ),
    ("fss1000", "train"): ("cascade_psp/fss_all", "cascade_psp/fss_all", "abe's_flyingfish_10"),
    ("duts", "train"): ("cascade_psp/DUTS-TR", "cascade_psp/DUTS-TR", "ILSVRC2012_1"),
    ("duts", "test"): ("cascade_psp/DUTS-TE", "cascade_psp/DUTS-TE", "sun_1"),
    ("ecssd", "train"): ("cascade_psp/ecssd", "cascade_psp/ecssd", "0001"),
    ("msra10k", "train"): ("cascade_psp/MSRA_10K", "cascade_psp/MSRA_10K", "1000"),
    ("coift", "val"): (
        "thin_object_detection/COIFT/images",
        "thin_object_detection/COIFT/masks",
        "blue-heron-734828_640",
    ),
    ("hrsod", "val"): (
        "thin_object_detection/HRSOD/images",
        "thin_object_detection/HRSOD/masks_max255",
        "123 é",
    ),
}
TEXTS = {
    ("dis5k", "train"): "street lamp",
    ("dis5k", "val"): "TV",
    ("thinobject5k", "train"): "air pump",
    ("thinobject5k", "test"): "shower",
    ("fss1000", "train"): "abe's flyingfish",
    ("coift", "val"): "blue heron",
}


def pair(images: str, masks: str, stem: str) -> dict[str, bytes]:
    return {f"{images}/{stem}.jpg": image(), f"{masks}/{stem}.png": mask_image()}


def sam_hq_tree(prefix: str = "") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for images, masks, stem in SAM_HQ_FOLDERS.values():
        files |= pair(prefix + images, prefix + masks, stem)
    return files


def open_part(
    files: dict[str, bytes], name: str, split: str | None = None, *, root: str = "data"
) -> DatasetReader:
    return open_reader(name, ReaderOptions(root, split, memory(files)))


class TestRealSample:
    def test_all_of_it(self, shared_data: Path) -> None:
        reader = open_reader("hqseg44k", ReaderOptions(str(shared_data / "hqseg44k"), "train"))
        refs, rejects = split_items(reader)
        assert not rejects
        counts = {name: sum(r.dataset == name for r in refs) for name in PARTS}
        assert {k: v for k, v in counts.items() if v} == {"dis5k": 2, "fss1000": 5, "ecssd": 100}
        assert "not there: thinobject5k train, duts train" in reader.describe_layout()
        assert {r.expressions for r in refs if r.dataset == "fss1000"} == {("african elephant",)}
        assert {r.expressions for r in refs if r.dataset == "dis5k"} == {("bag",)}
        assert_all_load(reader, refs)

    @pytest.mark.parametrize(
        ("root", "name", "prefix"),
        [
            ("hqseg44k", "ecssd", "cascade_psp/ecssd/"),
            ("hqseg44k/cascade_psp", "ecssd", "ecssd/"),
            ("hqseg44k/cascade_psp/ecssd", "ecssd", ""),
            ("", "ecssd", "hqseg44k/cascade_psp/ecssd/"),
            ("hqseg44k/DIS5K", "dis5k", "DIS-TR/im/"),
            ("hqseg44k/DIS5K/DIS-TR", "dis5k", "im/"),
        ],
    )
    def test_any_folder_on_the_way_is_a_root(
        self, shared_data: Path, root: str, name: str, prefix: str
    ) -> None:
        reader = open_reader(name, ReaderOptions(str(shared_data / root)))
        refs, _ = split_items(reader)
        assert len(refs) == (100 if name == "ecssd" else 2)
        assert all(ref.image_path.startswith(prefix) for ref in refs)
        assert_all_load(reader, refs[:1])


@pytest.mark.parametrize(("name", "split"), SAM_HQ_FOLDERS)
def test_every_part_of_the_sam_hq_tree(name: str, split: str) -> None:
    reader = open_part(sam_hq_tree(), name, split)
    refs, rejects = split_items(reader)
    assert not rejects
    (ref,) = refs
    images, _, stem = SAM_HQ_FOLDERS[name, split]
    assert ref.image_path == f"{images}/{stem}.jpg"
    assert ref.image_name == f"{stem}.jpg"
    assert (ref.dataset, ref.split, ref.license) == (name, split, LICENSES[name])
    assert ref.expressions == (TEXTS.get((name, split), "the salient object"),)
    assert "sam-hq's tree" in reader.describe_layout()
    assert_all_load(reader, refs)


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("prefix", ["", "sam-hq/"])
def test_collections(name: str, split: str, prefix: str) -> None:
    refs, rejects = split_items(open_part(sam_hq_tree(prefix), name, split))
    assert not rejects
    assert [(r.dataset, r.split) for r in refs] == list(COLLECTIONS[name][split])


class TestOriginalTrees:
    @pytest.mark.parametrize("split", ["train", "val", "te1", "te2", "te3", "te4"])
    def test_dis5k(self, split: str) -> None:
        folder = {"train": "DIS-TR", "val": "DIS-VD"}.get(split, f"DIS-{split.upper()}")
        files = pair(f"DIS5K/{folder}/im", f"DIS5K/{folder}/gt", "1#A#1#Bag#9_o")
        refs, _ = split_items(open_part(files, "dis5k", split))
        assert [r.split for r in refs] == [split]

    def test_thinobject5k_lists(self) -> None:
        files: dict[str, bytes] = {}
        for stem in ("ant_PNG1", "ant_PNG2", "ant_PNG3"):
            files |= pair("ThinObject5K/images", "ThinObject5K/masks", stem)
        files |= pair("ThinObject5K/images", "ThinObject5K/masks", "no.5_PNG1")
        files["ThinObject5K/list/train.txt"] = (
            b"ant_PNG1.png\r\nant_PNG3.png\nant_PNG9.png\n\nno.5_PNG1\n"
        )
        files["ThinObject5K/list/test.txt"] = b"ant_PNG2.png"
        reader = open_part(files, "thinobject5k", "train")
        refs, rejects = split_items(reader)
        assert [r.image_name for r in refs] == ["ant_PNG1.jpg", "ant_PNG3.jpg", "no.5_PNG1.jpg"]
        assert reasons(rejects) == ["missing_image"]
        assert "the original tree" in reader.describe_layout()
        refs, _ = split_items(open_part(files, "thinobject5k", "test"))
        assert [r.image_name for r in refs] == ["ant_PNG2.jpg"]

    @pytest.mark.parametrize("folder", ["fewshot_data", "FSS-1000"])
    def test_fss1000(self, folder: str) -> None:
        files = pair(f"{folder}/bus", f"{folder}/bus", "1")
        files |= pair(f"{folder}/abe's_flyingfish", f"{folder}/abe's_flyingfish", "1")
        reader = open_part(files, "fss1000")
        refs, _ = split_items(reader)
        assert [r.expressions[0] for r in refs] == ["abe's flyingfish", "bus"]
        assert_all_load(reader, refs)

    def test_fss1000_behind_a_folder_without_images(self) -> None:
        files = pair("FSS-1000/bus", "FSS-1000/bus", "1") | {"FSS-1000/.cache/x": b""}
        assert len(split_items(open_part(files, "fss1000"))[0]) == 1

    def test_ecssd(self) -> None:
        files = pair("ECSSD/images", "ECSSD/ground_truth_mask", "0001")
        assert len(split_items(open_part(files, "ecssd"))[0]) == 1
        assert len(split_items(open_part(files, "ecssd", root="data/ECSSD"))[0]) == 1

    def test_duts(self) -> None:
        files = pair("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask", "a")
        assert len(split_items(open_part(files, "duts", "test"))[0]) == 1
        with pytest.raises(LayoutError):
            open_part(files, "duts", "train")

    def test_msra10k(self) -> None:
        files = pair("MSRA10K_Imgs_GT/Imgs", "MSRA10K_Imgs_GT/Imgs", "a")
        assert len(split_items(open_part(files, "msra10k"))[0]) == 1

    def test_hrsod(self) -> None:
        files = pair("HRSOD/images", "HRSOD/masks", "a")
        assert len(split_items(open_part(files, "hrsod"))[0]) == 1


def test_another_split_is_never_taken_for_the_one_asked_for() -> None:
    files = pair("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", "1#A#1#Bag#9_o")
    with pytest.raises(LayoutError, match="dis5k, split train"):
        open_part(files, "dis5k", "train", root="data/DIS5K/DIS-VD")
    reader = open_part(files, "dis5k", "val", root="data/DIS5K/DIS-VD")
    assert [ref.image_name for ref in split_items(reader)[0]] == ["1#A#1#Bag#9_o.jpg"]


def test_a_users_images_and_masks_are_not_taken_for_coift() -> None:
    with pytest.raises(LayoutError):
        open_part(pair("images", "masks", "a"), "hqseg44k", "val")


def test_halves_are_rejected() -> None:
    folder = "cascade_psp/ecssd"
    files = pair(folder, folder, "1")
    files |= {f"{folder}/2.jpg": image(), f"{folder}/3.png": mask_image()}
    files |= {f"{folder}/1.JPEG": image(), f"{folder}/4.BMP": image(kind="BMP")}
    files |= {f"{folder}/4.png": mask_image(), f"{folder}/Thumbs.db": b""}
    refs, rejects = split_items(open_part(files, "ecssd"))
    assert sorted(r.image_name for r in refs) == ["1.JPEG", "4.BMP"]
    assert sorted(reasons(rejects)) == ["duplicate_id", "missing_image", "missing_mask"]


def test_a_listing_that_is_no_text() -> None:
    files = pair("ThinObject5K/images", "ThinObject5K/masks", "ant_PNG1")
    files["ThinObject5K/list/train.txt"] = b"\xff\xfe\x00"
    with pytest.raises(DataError, match=r"list/train\.txt cannot be read.*one name per line"):
        list(open_part(files, "thinobject5k", "train").read_targets())


def test_the_halves_name_folder_and_stem() -> None:
    files = pair("ECSSD/images", "ECSSD/ground_truth_mask", "1")
    files |= {"ECSSD/images/2.jpg": image(), "ECSSD/ground_truth_mask/3.png": mask_image()}
    _, rejects = split_items(open_part(files, "ecssd"))
    assert [reject.message for reject in rejects] == [
        "ECSSD/ground_truth_mask has no mask with the stem '2'",
        "ECSSD/images has no image with the stem '3'",
    ]


def test_a_half_of_another_type_is_named() -> None:
    files = pair("ECSSD/images", "ECSSD/ground_truth_mask", "1")
    files |= {"ECSSD/images/2.jpg": image(), "ECSSD/ground_truth_mask/2.npy": b"\x93NUMPY"}
    files |= {"ECSSD/images/3.heic": b"", "ECSSD/ground_truth_mask/3.png": mask_image()}
    _, rejects = split_items(open_part(files, "ecssd"))
    expected = "expected .jpg, .jpeg, .png, .bmp, .tif, .tiff, .webp or .gif"
    assert [reject.message for reject in rejects] == [
        f"ECSSD/ground_truth_mask has no mask with the stem '2'; 2.npy is not read: {expected}",
        f"ECSSD/images has no image with the stem '3'; 3.heic is not read: {expected}",
    ]


def test_empty_files_are_listed_without_being_opened(tmp_path: Path) -> None:
    folder = tmp_path / "cascade_psp/MSRA_10K"
    folder.mkdir(parents=True)
    for i in range(50):
        (folder / f"{i}.jpg").touch()
        (folder / f"{i}.png").touch()
    items = list(open_reader("msra10k", ReaderOptions(str(tmp_path))).read_targets())
    assert len(items) == 50


def test_a_layout_error_lists_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(LayoutError) as error:
        open_part({"images/a.jpg": b"", "notes.txt": b""}, "hqseg44k", "val")
    found, _, _ = str(error.value).partition("\nhqseg44k expects")
    assert found.splitlines() == [
        "data does not contain hqseg44k, split val. Looked for, there or one level deeper:",
        "  DIS5K/DIS-VD with im and gt (sam-hq's tree)",
        "  thin_object_detection/COIFT with images and masks (sam-hq's tree)",
        "  thin_object_detection/HRSOD with images and masks_max255 (sam-hq's tree)",
        "  HRSOD with images and masks (the original tree)",
        "  thin_object_detection/ThinObject5K with images_test and masks_test (sam-hq's tree)",
        "  ThinObject5K with images and masks (the original tree)",
        "found in data: images/, notes.txt; check --data-root and --split",
    ]
