"""Exports for the Hugging Face Hub: read by `datasets` and `mlcroissant`, and the card checked."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from hlmat.export.hub.state_rows import COLUMNS
from hlmat.export.image_tables.unit_tables import TableExport
from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.transforms.prompting.rendering import StateView

DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
SHAPES = (
    *("trajectories", "--dataset", "shapes", "--shapes-images", "3", "--shapes-size", "64x80"),
    *("--segmenter", DISC, "--max-clicks", "3", "--workers", "1", "-q"),
)
FOLDER = (
    *("trajectories", "--dataset", "folder", "--segmenter", DISC, "--max-clicks", "2"),
    *("--workers", "1", "--unit-size", "2", "-q"),
)
DAY = ("--date", "2026-11-27")
OWN = ("--images", "all", "--license", "cc-by-4.0")
"""The images may be published, under this license."""


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


def export(source: str | Path, out: str | Path, *more: str | Path) -> int:
    return run("export", "--from", source, "--format", "hub", "--out", out, *DAY, *more, "-q")


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def rows_of(out: Path, split: str) -> list[dict[str, Any]]:
    files = sorted((out / "states").glob(f"{split}-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def pixels(stored: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stored["bytes"])))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by split: two of generated scenes, one of a folder, all finished."""
    import annotated_data

    root = tmp_path_factory.mktemp("runs")
    for split in ("train", "val"):
        assert run(*SHAPES, "--split", split, "--out", root / split) == 0
    annotated_data.write_folder(root / "data", names=[f"n{k}" for k in range(5)])
    assert run(*FOLDER, "--data-root", root / "data", "--out", root / "folder") == 0
    return {name: root / name for name in ("train", "val", "folder", "data")}


@pytest.fixture(scope="module")
def published(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes of both splits, in files of a few targets, as PNG, with `Finish`."""
    out = tmp_path_factory.mktemp("hub") / "out"
    flags = ("--also", runs["val"], "--unit-size", "4", "--image-format", "png", "--finish")
    assert export(runs["train"], out, *flags) == 0
    return out


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library `datasets`, with its cache in a temporary folder."""
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()


def test_the_folder_holds_tables_card_metadata_and_checksums(published: Path) -> None:
    names = sorted(path.name for path in published.iterdir())
    assert names == [
        *("LICENSE.md", "README.md", "SHA256SUMS", "croissant.json", "export.json"),
        *("states", "trajectories"),
    ]
    lines = (published / "SHA256SUMS").read_text().splitlines()
    files = sorted(str(p.relative_to(published)) for p in published.rglob("*.parquet"))
    assert sorted(line.partition("  ")[2] for line in lines) == files
    for line in lines:
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_images_and_texts(
    streaming: bool, published: Path, runs: dict[str, Path], offline: Any
) -> None:
    loaded = offline.load_dataset(str(published), streaming=streaming)
    assert list(loaded) == ["train", "val"]
    for split in loaded:
        rows = list(loaded[split])
        assert [row["target_id"] for row in rows] == [
            row["target_id"] for row in rows_of(published, split)
        ]
        first = rows[0]
        assert first["image"].size == first["state"].size == first["mask"].size == (80, 64)
        assert first["image"].tobytes() == first["state"].tobytes()
        assert not np.asarray(first["mask"]).any()
        assert np.asarray(first["truth"]).any()
        assert first["prompt"].startswith(f"Segment this object: {first['expressions'][0]}.")
        assert first["answer"].startswith("Positive point: (")
    table = offline.load_dataset(str(published), "trajectories", split="train", streaming=streaming)
    original = [
        row
        for file in sorted((runs["train"] / "trajectories").iterdir())
        for row in pq.read_table(file).to_pylist()
    ]
    assert list(table) == original


def test_a_row_holds_what_its_step_saw_and_did(published: Path, runs: dict[str, Path]) -> None:
    (file,) = (runs["train"] / "trajectories").iterdir()
    trajectories = {row["target_id"]: row for row in pq.read_table(file).to_pylist()}
    rows = rows_of(published, "train")
    assert {row["action"] for row in rows} >= {"positive", "finish"}
    for row in rows:
        of = trajectories[row["target_id"]]
        size = [of["height"], of["width"]]
        before = of["steps"][row["step"] - 1]["mask_rle"] if row["step"] else None
        mask = np.zeros(size, bool) if before is None else decoded(before, size)
        assert (pixels(row["mask"]) == mask).all()
        assert (pixels(row["truth"]) == decoded(of["truth_rle"], size)).all()
        shown = StateView().draw(pixels(row["image"]), mask)
        assert (pixels(row["state"]) == shown).all()
        if row["action"] == "finish":
            assert (row["x"], row["gain"], row["step"]) == (None, None, len(of["steps"]))
        else:
            step = of["steps"][row["step"]]
            assert (row["x"], row["y"], row["gain"]) == (step["x"], step["y"], step["gain"])
            assert row["action"] == ("positive" if step["is_positive"] else "negative")


def decoded(counts: str, size: list[int]) -> np.ndarray:
    return coco_mask.decode({"size": size, "counts": counts}).astype(bool)


def test_the_same_command_writes_the_same_bytes(
    runs: dict[str, Path], published: Path, tmp_path: Path
) -> None:
    flags = ("--also", runs["val"], "--unit-size", "4", "--image-format", "png", "--finish")
    assert export(runs["train"], tmp_path / "out", *flags) == 0
    assert contents(tmp_path / "out") == contents(published)


def test_flagged_targets_of_every_run_are_left_out(
    runs: dict[str, Path], published: Path, tmp_path: Path, offline: Any
) -> None:
    first = rows_of(published, "train")[0]["target_id"]
    flags = tmp_path / "flags.csv"
    flags.write_text(f"target_id,split,flag\n{first},train,drop\n")
    out, both = tmp_path / "out", ("--also", runs["val"], "--exclude", flags)
    assert export(runs["train"], out, *both) == 0
    for table in ("states", "trajectories"):
        found, before = (
            list(dict.fromkeys(offline.load_dataset(str(of), table, split="train")["target_id"]))
            for of in (out, published)
        )
        assert found == before[1:]
        assert before[0] == first
    # Of the other split nothing is left out, so its files are the run's.
    (file,) = (out / "trajectories").glob("val-*")
    (own,) = (runs["val"] / "trajectories").iterdir()
    assert file.read_bytes() == own.read_bytes()
    card = (out / "README.md").read_text()
    assert card.count("| trajectories left out by flags | 1 |") == 1
    assert "left out by flags" not in (published / "README.md").read_text()
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_an_export_that_would_leave_a_split_empty_is_refused(
    runs: dict[str, Path], published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {row["target_id"] for row in rows_of(published, "val")}
    flags = tmp_path / "flags.csv"
    flags.write_text("target_id,split,flag\n" + "".join(f"{i},val,drop\n" for i in ids))
    both = ("--also", runs["val"], "--exclude", flags)
    assert export(runs["train"], tmp_path / "out", *both) == EXIT_DATA
    assert f"drops every target of {runs['val']}; leave some" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(
    runs: dict[str, Path], published: Path, tmp_path: Path
) -> None:
    flags = ("--also", runs["val"], "--unit-size", "4", "--image-format", "png", "--finish")
    assert export(runs["train"], tmp_path / "out", *flags, "--workers", "2") == 0
    assert contents(tmp_path / "out") == contents(published)


class Killed(BaseException):
    """Ends a job as a kill does: nothing handles it."""


def test_a_killed_export_goes_on_where_it_was(
    runs: dict[str, Path], published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do, done = TableExport.__call__, []

    def counted(self: TableExport, unit: Any) -> bytes:
        if len(done) == 2:
            raise Killed
        done.append(unit.name)
        return do(self, unit)

    out = tmp_path / "out"
    flags = ("--also", runs["val"], "--unit-size", "4", "--image-format", "png", "--finish")
    monkeypatch.setattr(TableExport, "__call__", counted)
    with pytest.raises(Killed):
        export(runs["train"], out, *flags)
    assert not (out / "README.md").exists()
    again: list[str] = []
    monkeypatch.setattr(
        TableExport, "__call__", lambda self, unit: (again.append(unit.name), do(self, unit))[1]
    )
    assert export(runs["train"], out, *flags) == 0
    assert not set(again) & set(done)
    assert contents(out) == contents(published)


def test_a_finished_export_is_not_made_again_on_another_day(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(runs["val"], out) == 0
    before = contents(out)
    command = ("export", "--from", runs["val"], "--format", "hub", "--out", out, "--json")
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out)["splits"] == "val"
    assert contents(out) == before
    assert run(*command, "--date", "2026-11-28") == EXIT_OUTPUT
    assert 'date: it was "2026-11-27", now "2026-11-28"' in capsys.readouterr().err


def test_images_are_left_out_unless_their_owner_says_so(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], offline: Any
) -> None:
    out = tmp_path / "out"
    moved = ("--data-root", tmp_path / "not there")
    command = ("export", "--from", runs["folder"], "--format", "hub", "--out", out, *DAY)
    # No image is read, so none needs to be there.
    assert run(*command, *moved) == 0
    printed = capsys.readouterr().out
    assert "images left out folder: if you may publish them, pass --images all and --license" in (
        printed
    )
    rows = rows_of(out, "train")
    assert {row["image"] for row in rows} == {row["state"] for row in rows} == {None}
    assert {row["source_split"] for row in rows} == {"all"}
    card = (out / "README.md").read_text()
    assert "license: other\nlicense_name: terms-of-each-source\nlicense_link: LICENSE.md\n" in card
    assert "| folder | yours | left out | your own images and masks |" in card
    assert "The images of folder are not in this data" in card
    (loaded,) = list(offline.load_dataset(str(out), split="train").take(1))
    assert loaded["image"] is None
    assert export(runs["folder"], tmp_path / "with", *OWN) == 0
    assert pixels(rows_of(tmp_path / "with", "train")[0]["image"]).shape == (48, 64, 3)
    assert "How to add the images" not in (tmp_path / "with" / "README.md").read_text()


def test_a_declared_license_is_stated_wherever_terms_are(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra train is not installed")
    out = tmp_path / "out"
    assert export(runs["folder"], out, *OWN) == 0
    for table in ("states", "trajectories"):
        files = sorted((out / table).iterdir())
        licenses = {text for file in files for text in pq.read_table(file)["license"].to_pylist()}
        assert licenses == {"CC BY 4.0"}
    data = hub.DatasetCard.load(out / "README.md").data.to_dict()
    assert (data["license"], data["source_datasets"]) == ("cc-by-4.0", ["original"])
    assert "license_name" not in data
    url = "https://creativecommons.org/licenses/by/4.0/"
    line = f"| folder | [CC BY 4.0]({url}) | included | the publisher's own data |"
    assert line in (out / "README.md").read_text()
    assert line in (out / "LICENSE.md").read_text()
    assert json.loads((out / "croissant.json").read_text())["license"] == url
    # The license alone does not say that the images may be published.
    assert export(runs["folder"], tmp_path / "without", "--license", "CC-BY-4.0") == 0
    assert {row["image"] for row in rows_of(tmp_path / "without", "train")} == {None}
    assert "license: cc-by-4.0\n" in (tmp_path / "without" / "README.md").read_text()


def test_own_terms_are_part_of_the_folder(runs: dict[str, Path], tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("Only for research at our institute.\n")
    out = tmp_path / "out"
    assert export(runs["folder"], out, "--images", "all", "--license", terms) == 0
    card = (out / "README.md").read_text()
    assert "license: other\nlicense_name: terms-of-each-source\nlicense_link: LICENSE.md\n" in card
    assert (
        (out / "LICENSE.md")
        .read_text()
        .endswith("## Terms of folder\n\nOnly for research at our institute.\n")
    )
    (first, *_) = rows_of(out, "train")
    assert first["license"] == "the publisher's terms, see LICENSE.md"
    assert json.loads((out / "croissant.json").read_text())["license"] == (
        "folder: the publisher's terms, see LICENSE.md"
    )
    assert str(terms) not in card


@pytest.mark.parametrize(
    ("source", "flags", "message"),
    [
        ("folder", ("--images", "all"), "--images all: the license of folder is not known; "),
        ("val", ("--license", "mit"), "--license: it is for data of your own, but those of shapes"),
        ("folder", ("--license", "cc-by-4"), "--license cc-by-4: did you mean "),
        ("folder", ("--license", "cc-by-nd-4.0"), "expected a text file with your own terms, or"),
        ("folder", ("--license", "empty.txt"), "--license empty.txt: 0 bytes; expected a text"),
        ("folder", ("--license", "image.png"), "--license image.png: not a text in UTF-8"),
    ],
)
def test_a_license_that_is_unknown_is_refused(
    source: str,
    flags: tuple[str, ...],
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    shutil.copy(next((runs["data"] / "images").iterdir()), "image.png")
    assert export(runs[source], tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_card_s_code_adds_the_images(
    runs: dict[str, Path], tmp_path: Path, offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, full = tmp_path / "bare", tmp_path / "full"
    flags = ("--image-format", "png", "--mask-colour", "red", "--opacity", "0.4")
    assert export(runs["folder"], bare, "--name", "bare", *flags) == 0
    assert export(runs["folder"], full, *OWN, *flags) == 0
    card = (bare / "README.md").read_text()
    code = card.partition("## How to add the images")[2].partition("```python\n")[2]
    code = code.partition("```")[0].replace("/data/folder", str(runs["data"]))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    joined = list(names["states"])
    for row, other in zip(joined, rows_of(full, "train"), strict=True):
        assert (np.asarray(row["image"]) == pixels(other["image"])).all()
        assert (np.asarray(row["state"]) == pixels(other["state"])).all()


def test_images_without_a_license_are_never_included(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs["folder"], copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["source"]["licenses"] = {"dis5k": "DIS5K terms of use (non-commercial)"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "out"
    assert export(copy, out, "--images", "all") == 2
    assert capsys.readouterr().err == (
        "hlmat: error: --images all: no license lets the images of dis5k be published; leave the "
        "flag out: the card then says where they come from and how to add them\n"
    )
    assert not out.exists()


@pytest.mark.slow
def test_mlcroissant_finds_nothing_wrong_and_yields_records(published: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="the package mlcroissant is missing")
    dataset = quiet(lambda: mlcroissant.Dataset(jsonld=str(published / "croissant.json")))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert str(dataset.metadata.ctx.conforms_to).endswith("V_1_1")
    for split in ("train", "val"):
        records = quiet(lambda split=split: list(dataset.records(f"states-{split}")))
        rows = rows_of(published, split)
        assert len(records) == len(rows)
        assert {name.partition("/")[2] for name in records[0]} == {name for name, *_ in COLUMNS}
        for record, row in zip(records, rows, strict=True):
            found = {name.partition("/")[2]: value for name, value in record.items()}
            assert found["prompt"].decode() == row["prompt"]
            assert (np.asarray(found["state"]) == pixels(row["state"])).all()
            assert [text.decode() for text in found["expressions"]] == row["expressions"]
        table = quiet(lambda split=split: list(dataset.records(f"trajectories-{split}")))
        assert len(table) == len({row["target_id"] for row in rows})


def quiet(call: Any) -> Any:
    """Return what a call of mlcroissant returns; its own uses of old interfaces are not ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def test_the_card_is_as_the_hub_documents_it(published: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra train is not installed")
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    card = hub.DatasetCard.load(published / "README.md")
    data = card.data.to_dict()
    known = set(vars(hub.DatasetCardData())) | {"configs", "dataset_info", "tags"}
    assert set(data) <= known | {"license_name", "license_link"}
    resources = Path(datasets.__file__).parent / "utils" / "resources"
    sizes = json.loads((resources / "size_categories.json").read_text())
    creators = json.loads((resources / "creators.json").read_text())
    assert set(data["size_categories"]) <= set(sizes)
    assert set(data["annotations_creators"]) <= set(creators["annotations"])
    assert data["license"] == "cc0-1.0"
    assert set(data["source_datasets"]) <= {"original", "extended"}
    configs = datasets.utils.metadata.MetadataConfigs.from_dataset_card_data(card.data)
    assert list(configs) == ["states", "trajectories"]
    assert configs.get_default_config_name() == "states"
    infos = datasets.info.DatasetInfosDict.from_dataset_card_data(card.data)
    for name in configs:
        for split in ("train", "val"):
            files = sorted((published / name).glob(f"{split}-*.parquet"))
            count = sum(pq.read_metadata(file).num_rows for file in files)
            assert infos[name].splits[split].num_examples == count
    headings = [line for line in card.text.splitlines() if line.startswith("## ")]
    assert headings == ["## Content", "## How it was made", "## Terms", "## Citation"]


def test_the_card_states_the_facts_of_the_runs_own(published: Path, runs: dict[str, Path]) -> None:
    card = (published / "README.md").read_text().splitlines()
    own = (runs["train"] / "DATA_CARD.md").read_text().splitlines()
    made = [line for line in own if line.startswith(("| trajectories |", "| segmenter |"))]
    assert len(made) == 2
    assert set(made) <= set(card)
    assert "| shapes | CC0-1.0 (generated) | included | generated on the fly |" in card
    assert "| shapes | CC0-1.0 (generated) | yes | generated on the fly |" in own


def test_two_runs_of_one_split_are_refused(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The folder's split `all` is called `train` on the Hub.
    assert export(runs["train"], tmp_path / "out", "--also", runs["folder"]) == 2
    assert capsys.readouterr().err == (
        f"hlmat: error: --also {runs['folder']}: its split 'all' would be 'train', as that of "
        f"{runs['train']}; a data set for the hub has one run for each split: export this one to "
        "another --out\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task", "prm"), "--task belongs to --format llama-factory, not to hub; leave it out"),
        (("--date", "27.11."), "--date 27.11.: not a day; write year-month-day"),
        (("--images", "some"), "--images 'some': choose from auto, all, none"),
        (("--name", "a/b"), "--name 'a/b'"),
    ],
)
def test_wrong_flags_are_named(
    flags: tuple[str, ...],
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("export", "--from", runs["val"], "--format", "hub", "--out", tmp_path / "out")
    assert run(*command, *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_images_are_rejects_and_many_end_the_export(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(runs["data"], data)
    (data / "images" / "n3.png").unlink()
    flags = (*OWN, "--data-root", data)
    assert export(runs["folder"], out, *flags) == 0
    (line,) = (out / "rejects.jsonl").read_text().splitlines()
    reject = json.loads(line)
    assert (reject["image_path"], reject["reason"]) == ("images/n3.png", "missing_image")
    assert reject["target_id"] not in {row["target_id"] for row in rows_of(out, "train")}
    for path in (data / "images").iterdir():
        path.unlink()
    assert export(runs["folder"], out, *flags, "--overwrite") == EXIT_DATA
    assert "5 of 5 targets cannot be exported" in capsys.readouterr().err
    assert not (out / "README.md").exists()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_another_folder_is_left_alone(
    overwrite: tuple[str, ...],
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    sft = ("--format", "llama-factory", "--out", out, "-q")
    assert run("export", "--from", runs["val"], *sft) == 0
    before = contents(out)
    assert export(runs["val"], out, *overwrite) == EXIT_OUTPUT
    assert "exists already and is not an empty folder" in capsys.readouterr().err
    assert contents(out) == before


def test_what_others_put_into_the_folder_is_not_removed(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export(runs["val"], out) == 0
    (out / "states" / "notes.txt").write_text("mine")
    assert export(runs["val"], out, "--finish", "--overwrite") == EXIT_OUTPUT
    assert f"{out} also holds states/notes.txt, which the export did not write" in (
        capsys.readouterr().err
    )
    (out / "states" / "notes.txt").unlink()
    assert export(runs["val"], out, "--finish", "--overwrite") == 0
    assert "finish" in {row["action"] for row in rows_of(out, "val")}


def test_an_unfinished_run_and_a_foreign_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    assert export(tmp_path / "photos", tmp_path / "out") == EXIT_DATA
    assert "is not the output of a finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_from_a_url_to_a_url(runs: dict[str, Path], tmp_path: Path, bucket: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(runs["val"]), f"{bucket}/run", recursive=True)
    assert export(f"{bucket}/run", f"{bucket}/hub") == 0
    assert export(runs["val"], tmp_path / "out") == 0
    place = memory._strip_protocol(f"{bucket}/hub")
    written = {name.removeprefix(f"{place}/"): memory.cat_file(name) for name in memory.find(place)}
    assert written == contents(tmp_path / "out")


def test_the_record_names_files_without_their_folders(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    copy, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(runs["folder"], copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["config"]["annotations"] = "/home/me/secret/masks.json"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert export(copy, out) == 0
    published = b"".join(contents(out).values())
    assert b"/home/me" not in published
    assert str(runs["data"]).encode() not in published
    assert json.loads((out / "export.json").read_text())["run"]["annotations"] == "masks.json"


def test_every_column_says_what_it_is(published: Path) -> None:
    schema = pq.read_schema(next((published / "states").iterdir()))
    assert schema.names == [name for name, *_ in COLUMNS]
    assert schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    card = (published / "README.md").read_text()
    assert all(f"| `{name}` | {meaning} |" in card for name, _, meaning in COLUMNS)
