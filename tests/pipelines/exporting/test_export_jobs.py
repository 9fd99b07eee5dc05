"""Exports as jobs: the same bytes however they are done, resumed, refused, from and to a URL."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.export.llama_factory.paired_runs import key_of
from hlmat.export.llama_factory.unit_export import UnitExport
from hlmat.export.runs.flags import KEY_COLUMNS
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.exporting.planning import plan_export
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.prompting.dialogues import segagent

RUN = (
    *("trajectories", "--dataset", "folder", "--max-clicks", "2", "--unit-size", "2"),
    *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter", "--workers", "1", "-q"),
    *("--output-shards", "2"),
)
NAMES = [f"n{k}" for k in range(6)]


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def export(source: str | Path, out: str | Path, *more: str | Path) -> int:
    return run("export", "--from", source, "--format", "llama-factory", "--out", out, *more, "-q")


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import annotated_data

    root = tmp_path_factory.mktemp("data")
    annotated_data.write_folder(root, names=NAMES)
    return root


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six targets in two files."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert run(*RUN, "--data-root", data, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of its export, made at once."""
    out = tmp_path_factory.mktemp("export") / "out"
    assert export(finished, out) == 0
    return contents(out)


class Killed(BaseException):
    """Ends a job as a kill does: nothing handles it."""


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that lets the job die when it has done some units."""
    do = UnitExport.__call__

    def arm(count: int) -> None:
        done = []

        def counted(self: UnitExport, unit: Any) -> bytes:
            if len(done) == count:
                raise Killed
            done.append(unit)
            return do(self, unit)

        monkeypatch.setattr(UnitExport, "__call__", counted)

    return arm


def test_the_size_of_units_changes_no_byte(
    finished: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for size in ("1", "2", "4", "100"):
        assert export(finished, tmp_path / size, "--unit-size", size) == 0
        assert contents(tmp_path / size) == whole


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(
    finished: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    assert export(finished, tmp_path / "out", "--unit-size", "2", "--workers", "2") == 0
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("units", [0, 1, 2])
def test_a_killed_export_goes_on_where_it_was(
    units: int,
    killed_after: Callable[[int], None],
    finished: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    killed_after(units)
    with pytest.raises(Killed):
        export(finished, out, "--unit-size", "2")
    assert not (out / "dataset_info.json").exists()
    kept = sorted(path.name for path in (out / ".partial" / "units").glob("*"))
    assert len(kept) == units
    monkeypatch.undo()
    asked: list[str] = []
    do = UnitExport.__call__
    monkeypatch.setattr(
        UnitExport,
        "__call__",
        lambda self, unit: (asked.append(f"{unit.unit_id}.txt"), do(self, unit))[1],
    )
    assert export(finished, out, "--unit-size", "2") == 0
    assert len(asked) == 3 - units
    assert not set(asked) & set(kept)
    assert contents(out) == whole


_KILLED = """
import os, signal, sys
from hlmat.export.llama_factory.paired_runs import key_of
from hlmat.export.llama_factory.unit_export import UnitExport
from hlmat.export.runs.flags import KEY_COLUMNS
from hlmat.pipelines.cli.main import main
do, left = UnitExport._write, int(sys.argv[1])
def write(self, name, drawn):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    do(self, name, drawn)
UnitExport._write = write
main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("images", [0, 2, 4])
def test_a_process_killed_between_images_goes_on_to_the_same_folder(
    images: int, finished: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = ("--from", finished, "--format", "llama-factory", "--unit-size", "2", "-q")
    command = [sys.executable, "-c", _KILLED, str(images), "export", *map(str, flags)]
    killed = subprocess.run([*command, "--out", str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "dataset_info.json").exists()
    assert export(finished, out, "--unit-size", "2") == 0
    assert contents(out) == whole


def test_a_finished_export_is_not_made_again(
    finished: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    killed_after: Callable[[int], None],
) -> None:
    out = tmp_path / "out"
    command = ("export", "--from", finished, "--format", "llama-factory", "--out", out, "--json")
    assert run(*command) == 0
    first = capsys.readouterr().out
    killed_after(0)
    assert run(*command) == 0
    assert capsys.readouterr().out == first
    assert contents(out) == whole


def test_another_export_in_the_folder_is_refused_and_overwritten_on_request(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(finished, out) == 0
    before = contents(out)
    assert export(finished, out, "--codec", "thousandths", "--name", "mine") == EXIT_OUTPUT
    assert capsys.readouterr().err == (
        f"hlmat: error: {out} holds an export with other settings:\n"
        '  codec: it was "decimal", now "thousandths"\n'
        '  name: it was "next_click", now "mine"\n'
        "choose another --out, repeat the export's own flags, or pass --overwrite to remove it\n"
    )
    assert contents(out) == before
    assert export(finished, out, "--codec", "thousandths", "--name", "mine", "--overwrite") == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"dataset_info.json", "export.json", "images", "mine.json"}


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_folder_of_something_else_is_left_alone(
    overwrite: tuple[str, ...],
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").write_text("")
    (tmp_path / "dataset_info.json").write_text("{}")
    assert export(finished, tmp_path, *overwrite) == EXIT_OUTPUT
    assert "exists already and is not an empty folder" in capsys.readouterr().err
    assert sorted(contents(tmp_path)) == ["dataset_info.json", "images/mine.jpg"]


def test_another_tools_record_is_no_export(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("of theirs")
    (tmp_path / "export.json").write_text('{"tool": "cvat", "export": {"settings": {}}}')
    before = contents(tmp_path)
    assert export(finished, tmp_path, "--overwrite") == EXIT_OUTPUT
    assert "exists already and is not an empty folder" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("notes.txt", "notes.txt"),
        ("images/mine.jpg", "images/mine.jpg"),
        ("images/ab/mine.jpg", "images/ab/mine.jpg"),
    ],
)
def test_what_others_put_beside_an_export_is_not_removed(
    name: str,
    named: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert export(finished, out) == 0
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("of theirs")
    before = contents(out)
    assert export(finished, out, "--codec", "thousandths", "--overwrite") == EXIT_OUTPUT
    assert capsys.readouterr().err == (
        f"hlmat: error: {out} also holds {named}, which the export did not write; move that "
        "elsewhere, or choose another --out\n"
    )
    assert contents(out) == before


def test_data_sets_added_to_the_list_of_an_export_are_not_removed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(finished, out) == 0
    listed = json.loads((out / "dataset_info.json").read_text())
    (out / "dataset_info.json").write_text(json.dumps({**listed, "other": {}}))
    (out / "other.json").write_text("[]")
    before = contents(out)
    assert export(finished, out, "--overwrite") == EXIT_OUTPUT
    assert "also holds other.json, dataset_info.json: other, which" in capsys.readouterr().err
    assert contents(out) == before


def test_an_overwrite_that_was_killed_can_be_repeated(
    finished: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert export(finished, out, "--codec", "thousandths", "--name", "mine") == 0
    (out / "dataset_info.json").unlink()
    shutil.rmtree(out / "images")
    assert export(finished, out) == EXIT_OUTPUT
    assert export(finished, out, "--overwrite") == 0
    assert contents(out) == whole


def test_an_edited_dialogue_is_another_export(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(segagent.__file__).read_text()
    file, out = tmp_path / "mine.py", tmp_path / "out"
    file.write_text(source)
    dialogue = f"{file}:SegAgent"
    assert export(finished, out, "--dialogue", dialogue) == 0
    assert export(finished, out, "--dialogue", dialogue) == 0
    file.write_text(f"{source}\n# edited\n")
    assert export(finished, out, "--dialogue", dialogue) == EXIT_OUTPUT
    assert 'dialogue: it was "mine.py' in capsys.readouterr().err


def test_nothing_to_learn_leaves_no_folder(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = ("--task", "preference", "--min-margin", "1", "--also", tmp_path / "also")
    shutil.copytree(finished, tmp_path / "also")
    assert export(finished, out, *flags) == EXIT_OUTPUT
    assert "so there is nothing to train on" in capsys.readouterr().err
    assert not out.exists()


def test_few_missing_images_are_rejects(
    data: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    (gone,) = (tmp_path / "data" / "images").glob("n4.*")
    gone.unlink()
    out = tmp_path / "out"
    command = ("export", "--from", finished, "--format", "llama-factory", "--out", out)
    assert run(*command, "--data-root", tmp_path / "data", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rejected"] == {"missing_image": 1}
    (line,) = (out / "rejects.jsonl").read_text().splitlines()
    reject = json.loads(line)
    assert (reject["image_path"], reject["reason"]) == (f"images/{gone.name}", "missing_image")
    rows = json.loads((out / "next_click.json").read_bytes())
    assert {row["target_id"] for row in rows} & {reject["target_id"]} == set()


def test_many_missing_images_end_the_export_and_are_read_again_later(
    data: Path,
    finished: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(data, tmp_path / "data")
    for path in (tmp_path / "data" / "images").iterdir():
        if path.stem != "n0":
            path.unlink()
    out = tmp_path / "out"
    flags = ("--data-root", tmp_path / "data", "--unit-size", "1")
    assert export(finished, out, *flags) == EXIT_DATA
    message = capsys.readouterr().err
    assert "5 of 6 targets cannot be exported, the first because of its image: " in message
    assert "say with --data-root where the data set is now" in message
    assert not (out / "dataset_info.json").exists()
    assert len(list((out / ".partial" / "units").iterdir())) == 1
    assert export(finished, out, "--unit-size", "1") == 0
    assert contents(out) == whole


def test_no_image_at_all_ends_the_export_whatever_is_allowed(
    data: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    for path in (tmp_path / "data" / "images").iterdir():
        path.unlink()
    flags = ("--data-root", tmp_path / "data", "--max-reject-rate", "1")
    assert export(finished, tmp_path / "out", *flags) == EXIT_DATA
    assert "6 of 6 targets cannot be exported" in capsys.readouterr().err


def test_an_image_that_changed_since_the_run_is_a_reject(
    data: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (changed,) = (root / "images").glob("n4.*")
    image = cv2.imread(str(changed))
    assert image is not None
    image[0, 0] ^= 255
    cv2.imwrite(str(changed), image)
    out = tmp_path / "out"
    flags = ("--data-root", root)
    assert export(finished, out, *flags) == 0
    (line,) = (out / "rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "changed_image"
    exported = {row["target_id"] for row in json.loads((out / "next_click.json").read_bytes())}
    assert exported == {f"folder/all/n{k}" for k in (0, 1, 2, 3, 5)}
    inspect = ("inspect", finished, "--index", "4", "--strip", tmp_path / "strip.png")
    assert run(*inspect, *flags) == 2
    assert capsys.readouterr().err == (
        f"hlmat: error: changed_image: images/{changed.name} has other pixels than when the run "
        "was made, so clicks and masks may not line up with their objects; restore the image, or "
        "make the run again; give the image location with --data-root\n"
    )


def test_machines_elsewhere_see_no_local_path(
    data: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(finished, out, "--runner", "DataflowRunner", "--project=p") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        f"--from {finished}",
        f"--data-root {data}",
        f"--out {out}",
    ]
    assert all("use a URL such as gs://bucket/folder" in line for line in lines)
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert export(finished, out) == EXIT_OUTPUT
    assert capsys.readouterr().err.startswith(f"hlmat: error: {out} cannot be written: ")


def test_a_damaged_unit_file_is_named(
    finished: Path,
    tmp_path: Path,
    killed_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    killed_after(2)
    with pytest.raises(Killed):
        export(finished, out, "--unit-size", "2")
    monkeypatch.undo()
    (first, _) = sorted((out / ".partial" / "units").iterdir())
    first.write_bytes(b"half")
    assert export(finished, out, "--unit-size", "2") == EXIT_OUTPUT
    assert f"the unit file {first} is damaged" in capsys.readouterr().err
    first.unlink()
    assert export(finished, out, "--unit-size", "2") == 0


def test_from_a_url_to_a_url(
    data: Path, finished: Path, whole: dict[str, bytes], bucket: str
) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(finished), f"{bucket}/run", recursive=True)
    memory.put(str(data), f"{bucket}/data", recursive=True)
    out = f"{bucket}/sft"
    assert export(f"{bucket}/run", out, "--data-root", f"{bucket}/data", "--unit-size", "2") == 0
    place = memory._strip_protocol(out)
    written = {name.removeprefix(f"{place}/"): memory.cat_file(name) for name in memory.find(place)}
    assert written == whole
    assert export(f"{bucket}/run", out, "--data-root", f"{bucket}/data") == 0


def test_names_of_the_export_s_own_files_are_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(finished, tmp_path / "out", "--name", "export") == 2
    assert "--name export: the export has a file of this name" in capsys.readouterr().err


@settings(max_examples=40)
@given(size=st.integers(1, 12), dropped=st.sets(st.integers(0, len(NAMES) - 1)))
def test_units_are_all_rows_in_order_cut_between_images_without_the_excluded_ones(
    size: int, dropped: set[int], finished: Path
) -> None:
    files = TrajectoryFiles.of(LocalStorage(), str(finished), read_run_manifest(str(finished)))
    rows = [
        (number, first + k, key_of(row))
        for number, first, some in files.columns(KEY_COLUMNS)
        for k, row in enumerate(some)
    ]
    assert len(rows) == len(NAMES)
    excluded = {key for place, (_, _, key) in enumerate(rows) if place in dropped}
    plan = plan_export(files, (), unit_size=size, fingerprint="f", shapes=None, excluded=excluded)
    places = [
        (part.file, row)
        for unit in plan.units
        for part in unit.rows
        for row in range(part.first, part.first + part.count)
    ]
    assert places == [(file, place) for file, place, key in rows if key not in excluded]
    assert [unit.index for unit in plan.units] == list(range(len(plan.units)))
    assert len(set(plan.targets_by_unit)) == len(plan.units)
    assert all(unit.targets >= size for unit in plan.units[:-1])
    assert len(plan.images) == len(NAMES) - len(dropped)
