from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hlmat.export.llama_factory.export_units import build_unit
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.paired_runs import OtherRunFiles, RowsByTarget, run_differences
from hlmat.export.llama_factory.samples import cases_of
from hlmat.export.llama_factory.unit_export import ExportSettings, UnitExport
from hlmat.export.llama_factory.unit_samples import UnitSamples
from hlmat.export.runs.manifest import FileEntry, Manifest
from hlmat.export.runs.row_slices import RowSlice, TrajectoryFiles
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.dataset_io.arrow import table_to_parquet_bytes, trajectory_to_row
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA
from trajectory_cases import TRUTH, load_image, make_trajectory

CONFIG: dict[str, Any] = {
    "dataset": "d",
    "split": "train",
    "split_by": None,
    "annotations": None,
    "shapes": None,
    "expressions": None,
    "segmenter": {"name": "graphcut", "version": 1},
    "policy": "oracle",
    "seed": 0,
}

Run = tuple[LocalStorage, str, Manifest]


def write_run(folder: Path, trajectories: Iterable[Trajectory]) -> Run:
    """Write what of a finished run is read here: its trajectories and how they are listed."""
    name = OutputLayout.trajectory_name(0, 1)
    rows = [trajectory_to_row(t) for t in trajectories]
    data = table_to_parquet_bytes(pa.Table.from_pylist(rows, schema=TRAJECTORY_SCHEMA))
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(data)
    manifest = Manifest({name: FileEntry.of(data, rows=len(rows))}, CONFIG, {})
    return LocalStorage(), str(folder), manifest


def paired(tmp_path: Path, names: str, *others: Run) -> list[list[int]]:
    """Return, for each of the first run's targets, the numbers of the other runs that have it."""
    files = [OtherRunFiles.of(*run) for run in others]
    by_target = RowsByTarget(files)
    keys = [("d", "train", name) for name in names]
    also = list(by_target.of(keys))
    by_target.check_matched(first="here")
    run = write_run(tmp_path / "first", [make_trajectory(n) for n in names])
    settings = ExportSettings(
        TrajectoryFiles.of(*run),
        tuple(files),
        load_image,
        "star-plus",
        LlamaFactoryOptions(),
        str(tmp_path / "out"),
        LocalStorage(),
    )
    rows = [RowSlice(0, 0, len(names))]
    unit = build_unit(0, rows, also=also, expressions=None, fingerprint="f")
    made = UnitSamples.from_bytes(UnitExport(settings)(unit), name="unit")
    found: dict[str, set[int]] = {name: set() for name in names}
    for row in json.loads(f"[{made.rows}]"):
        found[row["target_id"]].add(row["round"])
    return [sorted(found[name]) for name in names]


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        ("abc", "abc", [[1], [1], [1]]),
        ("abc", "ac", [[1], [], [1]]),  # rejected there
        ("ac", "abc", [[1], [1]]),  # rejected here
        ("abc", "cba", [[1], [1], [1]]),  # in another order
        ("ab", "bcd", [[], [1]]),  # another part of the data set
    ],
)
def test_targets_meet_those_of_the_other_run(
    first: str, other: str, expected: list[list[int]], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "other", [make_trajectory(n) for n in other])
    assert paired(tmp_path, first, run) == expected


def test_several_runs_are_read_side_by_side(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / n, [make_trajectory(k) for k in n]) for n in ("ab", "bc")]
    assert paired(tmp_path, "abc", *runs) == [[1], [1, 2], [2]]


def test_runs_of_one_order_are_one_slice(tmp_path: Path) -> None:
    run = write_run(tmp_path / "other", [make_trajectory(n) for n in "abcd"])
    by_target = RowsByTarget([OtherRunFiles.of(*run)])
    keys = [("d", "train", name) for name in "bxcd"]
    assert [(rows.place, rows.rows) for rows in by_target.of(keys)] == [
        (0, RowSlice(0, 1, 1)),
        (2, RowSlice(0, 2, 2)),
    ]


def test_runs_without_a_common_target_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "other", [make_trajectory("x")])
    with pytest.raises(DataError, match=r"no target of here is in .*other as well"):
        paired(tmp_path, "ab", run)


def test_a_target_with_another_truth_is_refused(tmp_path: Path) -> None:
    smaller = TRUTH & (np.arange(TRUTH.shape[1]) < 100)
    run = write_run(tmp_path / "other", [make_trajectory("a", truth=smaller)])
    with pytest.raises(DataError, match=r"target 'a' has another ground truth in .*other"):
        paired(tmp_path, "a", run)


def test_runs_of_other_policies_seeds_and_parts_can_be_compared() -> None:
    other = CONFIG | {"policy": "uniform", "seed": 1, "limit": 5, "max_clicks": 20}
    assert run_differences(CONFIG, other) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "e"}, "its dataset is 'e', expected 'd'; give a run over the same"),
        ({"split": "val"}, "its split is 'val', expected 'train'"),
        ({"shapes": {"seed": 1}}, "its shapes is {'seed': 1}, expected None"),
        ({"expressions": "each"}, "made by the same command"),
        ({"segmenter": {"name": "sam"}}, "a margin would judge the tools, not the clicks"),
    ],
)
def test_what_makes_runs_incomparable_is_reported(change: dict[str, Any], message: str) -> None:
    (problem,) = run_differences(CONFIG, CONFIG | change)
    assert message in problem


def test_cases_of_one_image_are_neighbours() -> None:
    names = [("a", "1"), ("b", "1"), ("c", "2")]
    cases = cases_of(make_trajectory(n, image_path=p) for n, p in names)
    found = [
        (c.trajectory.target.ref.target_id, [n.target.ref.target_id for n in c.neighbours])
        for c in cases
    ]
    assert found == [("a", ["b"]), ("b", ["a"]), ("c", [])]


def test_images_of_the_same_name_in_two_data_sets_are_two() -> None:
    here, there = make_trajectory("a"), make_trajectory("b")
    ref = dataclasses.replace(there.target.ref, dataset="e")
    there = dataclasses.replace(there, target=dataclasses.replace(there.target, ref=ref))
    assert [len(case.neighbours) for case in cases_of([here, there])] == [0, 0]
