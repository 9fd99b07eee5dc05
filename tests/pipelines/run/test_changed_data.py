"""A run answers for the data that it was made from; repaired data is taken up by its rejects."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_INCOMPLETE, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.transforms.beam.simulate import ClickWorker

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        write_pair(root, name, side=10 + 2 * number)
    captions = "".join(f"{name}.png,the square {name}\n" for name in NAMES)
    (root / "captions.csv").write_text("file,caption\n" + captions, encoding="utf-8")
    return root


def write_pair(root: Path, name: str, *, side: int) -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[5 : 5 + side, 8 : 8 + side] = 255
    image = np.full((40, 50, 3), 60, np.uint8)
    image[mask > 0] = (200, 80, 40)
    cv2.imwrite(str(root / "images" / f"{name}.png"), image)
    cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)


def run(data: Path, out: Path, *flags: str) -> int:
    disc = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--unit-size", "2")
    return main(
        [
            *("trajectories", "--dataset", "folder", "--data-root", str(data), "--quiet", *disc),
            *("--max-reject-rate", "1", "--out", str(out), *flags),
        ]
    )


def files_in(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edit_mask(data: Path) -> None:
    write_pair(data, "b", side=20)


def edit_mask_and_hide_it(data: Path) -> None:
    path = data / "masks" / "b.png"
    content, state = bytearray(path.read_bytes()), path.stat()
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def edit_captions(data: Path) -> None:
    path = data / "captions.csv"
    path.write_text(path.read_text().replace("square b", "thing b"), encoding="utf-8")


def add_pair(data: Path) -> None:
    write_pair(data, "e", side=9)


CHANGES = [
    (edit_mask, "2 files changed (images/b.png, masks/b.png)"),
    (edit_mask_and_hide_it, "1 file changed (masks/b.png)"),
    (edit_captions, "1 file changed (captions.csv), 1 target changed (folder/all/b)"),
    (add_pair, "1 target new (folder/all/e)"),
]


def leave_unfinished(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a run whose second unit died."""
    simulate = ClickWorker.simulate

    def die(self: ClickWorker, unit: object) -> object:
        if unit.index == 1:  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        return simulate(self, unit)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ClickWorker, "simulate", die)
        assert run(data, out) == EXIT_INCOMPLETE


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_run_over_changed_data_is_refused_with_what_changed(
    data: Path,
    tmp_path: Path,
    change: object,
    named: str,
    finished: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out"
    if finished:
        assert run(data, out) == EXIT_OK
    else:
        leave_unfinished(data, out, monkeypatch)
    change(data)  # type: ignore[operator]
    before = files_in(out / "trajectories")
    capsys.readouterr()
    for _ in range(2):
        assert run(data, out) == EXIT_OUTPUT
        message = capsys.readouterr().err
        assert f"{out} holds a run over other data: {named}; " in message
        assert "choose another --out, or pass --overwrite" in message
    if finished:
        assert files_in(out / "trajectories") == before
    assert run(data, out, "--overwrite") == EXIT_OK


@pytest.mark.parametrize("finished", [True, False])
def test_a_copy_of_the_data_set_is_the_same_data(
    data: Path, tmp_path: Path, finished: bool, monkeypatch: pytest.MonkeyPatch
):
    out, copy = tmp_path / "out", tmp_path / "copy"
    if finished:
        assert run(data, out) == EXIT_OK
    else:
        leave_unfinished(data, out, monkeypatch)
    shutil.copytree(data, copy, copy_function=shutil.copyfile)
    assert run(copy, out) == EXIT_OK
    assert run(copy, tmp_path / "fresh") == EXIT_OK
    trajectories = files_in(tmp_path / "fresh" / "trajectories")
    assert files_in(out / "trajectories") == trajectories
    assert (out / "inputs.parquet").read_bytes() == (
        tmp_path / "fresh" / "inputs.parquet"
    ).read_bytes()


def test_an_image_deleted_since_is_one_reject_of_an_unfinished_run(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "out"
    leave_unfinished(data, out, monkeypatch)
    (data / "images" / "c.png").unlink()
    assert run(data, out) == EXIT_OK
    assert run(data, tmp_path / "fresh") == EXIT_OK
    assert files_in(out) == files_in(tmp_path / "fresh")
    assert main(["stats", str(out), "--verify"]) == EXIT_OK


def test_an_image_deleted_since_leaves_a_finished_run_as_it_is(data: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert run(data, out) == EXIT_OK
    before = files_in(out)
    (data / "images" / "c.png").unlink()
    assert run(data, out) == EXIT_OK
    assert files_in(out) == before


def break_image(data: Path) -> None:
    (data / "images" / "b.png").write_bytes(b"\x89PNG broken")


def break_mask(data: Path) -> None:
    (data / "masks" / "b.png").write_bytes(b"")


def delete_image(data: Path) -> None:
    (data / "images" / "b.png").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("damage", [break_image, break_mask, delete_image])
def test_after_a_repair_the_rejects_alone_are_tried_again(
    data: Path,
    tmp_path: Path,
    damage: object,
    finished: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out"
    damage(data)  # type: ignore[operator]
    if finished:
        assert run(data, out) == EXIT_OK
    else:
        leave_unfinished(data, out, monkeypatch)
    write_pair(data, "b", side=12)
    capsys.readouterr()
    assert run(data, out) == EXIT_OUTPUT
    assert "only rejected targets are concerned: add --retry-rejects" in capsys.readouterr().err

    worked_on: list[str] = []
    simulate = ClickWorker.simulate

    def note(self: ClickWorker, unit: object) -> object:
        worked_on.extend(item.target_id for item in unit.items)  # type: ignore[attr-defined]
        return simulate(self, unit)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ClickWorker, "simulate", note)
        assert run(data, out, "--retry-rejects") == EXIT_OK
    assert sorted(worked_on) == [
        "folder/all/b",
        *([] if finished else ["folder/all/c", "folder/all/d"]),
    ]
    assert run(data, tmp_path / "fresh") == EXIT_OK
    assert files_in(out) == files_in(tmp_path / "fresh")


def test_retrying_keeps_to_rejects(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    break_image(data)
    assert run(data, out) == EXIT_OK
    before = files_in(out)
    write_pair(data, "b", side=12)
    write_pair(data, "a", side=30)
    assert run(data, out, "--retry-rejects") == EXIT_OUTPUT
    assert "--retry-rejects keeps what was not rejected" in capsys.readouterr().err
    assert files_in(out) == before


def test_retrying_without_rejects_changes_nothing(data: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert run(data, out) == EXIT_OK
    before = files_in(out)
    assert run(data, out, "--retry-rejects") == EXIT_OK
    assert files_in(out) == before
    assert run(data, out, "--retry-rejects", "--overwrite") == EXIT_CONFIG


@pytest.mark.slow
def test_an_evaluation_retries_the_expressions_of_a_repaired_image(data: Path, tmp_path: Path):
    def evaluated(out: Path, *flags: str) -> int:
        disc = ("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter")
        return main(
            [
                *("evaluate", "--policy", "centre", "--dataset", "folder", *disc, "--quiet"),
                *("--data-root", str(data), "--unit-size", "2", "--out", str(out), *flags),
            ]
        )

    out = tmp_path / "out"
    delete_image(data)
    assert evaluated(out) == EXIT_OK
    write_pair(data, "b", side=12)
    assert evaluated(out) == EXIT_OUTPUT
    assert evaluated(out, "--retry-rejects") == EXIT_OK
    assert evaluated(tmp_path / "fresh") == EXIT_OK
    for name in ("trajectories", "rejects"):
        assert files_in(out / name) == files_in(tmp_path / "fresh" / name)
    for name in ("manifest.json", "predictions.json", "inputs.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def write_table(root: Path, *, grey: int) -> None:
    """Write a table of one image and its mask; only the image depends on the grey."""
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 5:20] = 255
    image = np.full((20, 30, 3), grey, np.uint8)
    cells = [cv2.imencode(".png", pixels)[1].tobytes() for pixels in (image, mask)]
    row = {"image": {"bytes": cells[0]}, "mask": {"bytes": cells[1]}, "text": "a box"}
    root.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row]), root / "train.parquet")


def test_another_image_in_a_table_is_a_change_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, out = tmp_path / "table", tmp_path / "out"
    flags = ("--dataset", "parquet", "--split", "train")
    write_table(data, grey=90)
    assert run(data, out, *flags) == EXIT_OK
    assert run(data, out, *flags) == EXIT_OK
    write_table(data, grey=91)
    assert run(data, out, *flags) == EXIT_OUTPUT
    assert "1 file changed (train.parquet)" in capsys.readouterr().err
