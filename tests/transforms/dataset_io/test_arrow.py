from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
import record_strategies
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import (
    Box,
    Click,
    Reject,
    RejectReason,
    Rle,
    StopReason,
    TargetRef,
    Trajectory,
    Undo,
)
from hlmat.transforms.dataset_io import arrow
from hlmat.transforms.dataset_io.arrow import (
    parquet_bytes_to_table,
    reject_to_row,
    row_to_reject,
    row_to_target_ref,
    row_to_trajectory,
    split_unit_tables,
    table_to_parquet_bytes,
    target_ref_to_row,
    trajectory_table,
    trajectory_to_row,
    unit_table,
)
from hlmat.transforms.dataset_io.schemas import (
    REJECT_SCHEMA,
    TRAJECTORY_SCHEMA,
    VERSION_KEY,
    schema_to_markdown,
)
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes, unit_to_bytes

SIZE_HW = (3, 5)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
integers32 = st.integers(-(2**31), 2**31 - 1)
integers64 = st.integers(-(2**63), 2**63 - 1)
scores = st.floats(allow_nan=False)

refs = record_strategies.target_refs(texts, image_ids=integers64, object_ids=integers32)
masks = record_strategies.rles(SIZE_HW)
clicks = st.builds(Click, x=integers32, y=integers32, is_positive=st.booleans())
boxes = st.tuples(*[st.lists(integers32, min_size=2, max_size=2, unique=True)] * 2).map(
    lambda sides: Box(min(sides[0]), min(sides[1]), max(sides[0]), max(sides[1]))
)
steps = record_strategies.steps(
    masks, actions=clicks | boxes, iou=scores, gain=scores, score=st.none() | scores
)
trajectories = record_strategies.trajectories(
    refs,
    masks,
    steps,
    texts=texts,
    seeds=integers64,
    initial_mask=st.none() | masks,
    initial_iou=scores,
)
rejects = st.builds(Reject, ref=refs, reason=st.sampled_from(RejectReason), message=texts)


def make_trajectory(target_id: str = "t1") -> Trajectory:
    truth = np.zeros(SIZE_HW, dtype=bool)
    truth[1, 1:4] = True
    return builders.trajectory(
        builders.target(
            truth,
            target_id,
            "left cup",
            "cup",
            image_path="a/b.jpg",
            image_name="7",
            image_id=7,
        ),
        builders.step(truth, Box(1, 1, 4, 2), iou=0.5, gain=0.5),
        builders.step(truth, Click(2, 1, True), iou=1.0, gain=0.5, score=0.9),
        stop_reason=StopReason.REACHED_IOU,
    )


@given(trajectories)
def test_trajectory_survives_row_and_parquet(trajectory: Trajectory) -> None:
    assert row_to_trajectory(trajectory_to_row(trajectory)) == trajectory
    data = table_to_parquet_bytes(trajectory_table([trajectory]))
    table = parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name="a.parquet")
    assert [row_to_trajectory(row) for row in table.to_pylist()] == [trajectory]


@given(rejects, texts)
def test_reject_survives_its_row(reject: Reject, fingerprint: str) -> None:
    row = reject_to_row(reject, fingerprint=fingerprint)
    assert row_to_reject(row) == reject
    assert row["config_fingerprint"] == fingerprint


@given(refs)
def test_target_ref_survives_its_row(ref: TargetRef) -> None:
    assert row_to_target_ref(target_ref_to_row(ref)) == ref


@pytest.mark.slow
@given(st.lists(st.lists(trajectories | rejects, max_size=4), max_size=3))
def test_units_split_into_trajectories_and_rejects_in_order(
    units: list[list[Trajectory | Reject]],
) -> None:
    tables = [unit_from_bytes(unit_to_bytes(unit, fingerprint="f00"), name="u") for unit in units]
    kept, rejected = split_unit_tables(tables)
    items = [item for unit in units for item in unit]
    assert kept.schema.equals(TRAJECTORY_SCHEMA, check_metadata=True)
    assert rejected.schema.equals(REJECT_SCHEMA, check_metadata=True)
    assert [row_to_trajectory(row) for row in kept.to_pylist()] == [
        item for item in items if isinstance(item, Trajectory)
    ]
    assert [row_to_reject(row) for row in rejected.to_pylist()] == [
        item for item in items if isinstance(item, Reject)
    ]
    assert [i for t in tables for i in t["target_id"].to_pylist()] == [
        item.ref.target_id if isinstance(item, Reject) else item.target.ref.target_id
        for item in items
    ]


def test_split_without_units_gives_empty_tables() -> None:
    kept, rejected = split_unit_tables([])
    assert (kept.num_rows, rejected.num_rows) == (0, 0)
    assert kept.schema == TRAJECTORY_SCHEMA


def test_equal_rows_give_equal_bytes_however_they_are_chunked() -> None:
    parts = [trajectory_table([make_trajectory(str(i))]) for i in range(5)]
    chunked = pa.concat_tables(parts)
    whole = trajectory_table([make_trajectory(str(i)) for i in range(5)])
    assert table_to_parquet_bytes(chunked) == table_to_parquet_bytes(whole)


def groups_of(data: bytes) -> list[int]:
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


@given(
    lengths=st.lists(st.integers(0, 40), max_size=30),
    limit=st.integers(1, 100),
    chunk=st.integers(1, 7),
)
def test_a_row_group_holds_no_more_text_than_can_be_addressed(
    lengths: list[int], limit: int, chunk: int
) -> None:
    column = pa.list_(pa.struct([("mask_rle", pa.string())]))
    schema = pa.schema([("name", pa.string()), ("steps", column)])
    rows = [{"name": "a", "steps": [{"mask_rle": "0" * n}, {"mask_rle": None}]} for n in lengths]
    whole = pa.Table.from_pylist(rows, schema=schema)
    parts = [whole.slice(first, chunk) for first in range(0, len(rows), chunk)]
    chunked = pa.concat_tables(parts) if parts else whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "ROW_GROUP_TEXT_BYTES", limit)
        data = table_to_parquet_bytes(chunked)
        assert data == table_to_parquet_bytes(whole)
    read = pq.ParquetFile(pa.BufferReader(data))
    assert read.read().to_pylist() == rows
    first = 0
    for count in groups_of(data):
        text = sum(lengths[first : first + count])
        assert count <= 1 or max(text, count) <= limit
        first += count
    assert first == len(rows)


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 2049])
def test_row_groups_have_as_many_rows_as_one_call_of_arrow_writes(count: int) -> None:
    table = trajectory_table([make_trajectory(str(i % 7)) for i in range(count)])
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=1024)
    assert table_to_parquet_bytes(table) == sink.getvalue().to_pybytes()


@pytest.mark.slow
def test_a_table_may_hold_more_than_two_gib_of_run_lengths() -> None:
    row = trajectory_to_row(make_trajectory())
    row["steps"] = [row["steps"][0] | {"mask_rle": "0" * 2**25}]
    one = pa.Table.from_pylist([row], schema=TRAJECTORY_SCHEMA)
    data = table_to_parquet_bytes(pa.concat_tables([one] * 70))
    assert groups_of(data) == [35, 35]
    table = parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name="a.parquet")
    assert table.slice(69).to_pylist() == [row]


def test_a_name_that_is_no_unicode_is_written_escaped() -> None:
    ref = dataclasses.replace(make_trajectory().target.ref, image_path="caf\udce9.jpg")
    reject = Reject(ref, RejectReason.MISSING_MASK, "no mask next to caf\udce9.jpg")
    _, rejected = split_unit_tables([unit_table([reject], "f00")])
    row = rejected.to_pylist()[0]
    assert row["image_path"] == "caf\\udce9.jpg"
    assert row["message"] == "no mask next to caf\\udce9.jpg"


def test_a_mask_of_another_size_is_refused() -> None:
    trajectory = make_trajectory()
    step = dataclasses.replace(trajectory.steps[0], mask=Rle("0", (9, 9)))
    with pytest.raises(ValueError, match=r"'t1' is \(3, 5\).*one of its masks is \(9, 9\)"):
        trajectory_to_row(dataclasses.replace(trajectory, steps=(step,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_reason": "bored"}, "'t1' is not a trajectory.*'bored'"),
        ({"steps": [{"kind": "lasso"}]}, "'lasso' is not a kind of step"),
        ({"expressions": None}, "'t1' is not a trajectory"),
    ],
)
def test_a_row_with_an_impossible_value_is_named(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        row_to_trajectory({**trajectory_to_row(make_trajectory()), **change})


def test_an_unknown_reject_reason_is_named() -> None:
    row = reject_to_row(
        Reject(make_trajectory().target.ref, RejectReason.CROWD, ""), fingerprint="f00"
    )
    with pytest.raises(DataError, match=r"'t1' is not a reject.*'dull'"):
        row_to_reject({**row, "reason": "dull"})


def test_a_file_that_is_not_parquet_is_named() -> None:
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read as Parquet"):
        parquet_bytes_to_table(b"PAR1 nonsense", schema=TRAJECTORY_SCHEMA, name="x.parquet")


def test_a_truncated_file_is_named() -> None:
    data = table_to_parquet_bytes(trajectory_table([make_trajectory()]))
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read as Parquet"):
        parquet_bytes_to_table(data[: len(data) // 2], schema=TRAJECTORY_SCHEMA, name="x.parquet")


def test_another_schema_version_is_named_with_the_expected_one() -> None:
    table = trajectory_table([make_trajectory()]).replace_schema_metadata({VERSION_KEY: b"99"})
    with pytest.raises(DataError, match=r"x\.parquet: schema version 99, expected 6; read it"):
        parquet_bytes_to_table(
            table_to_parquet_bytes(table), schema=TRAJECTORY_SCHEMA, name="x.parquet"
        )


def test_a_file_of_the_version_before_lacks_the_digest() -> None:
    table = trajectory_table([make_trajectory()])
    table = table.drop_columns(["image_digest"]).replace_schema_metadata({VERSION_KEY: b"4"})
    data = table_to_parquet_bytes(table)
    (row,) = parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name="x.parquet").to_pylist()
    assert row_to_trajectory(row) == make_trajectory()
    with pytest.raises(DataError, match=r"x\.parquet: column\(s\) image_digest missing"):
        parquet_bytes_to_table(
            table_to_parquet_bytes(table.replace_schema_metadata({VERSION_KEY: b"5"})),
            schema=TRAJECTORY_SCHEMA,
            name="x.parquet",
        )


def test_a_file_of_version_5_is_read_as_it_is() -> None:
    table = trajectory_table([make_trajectory()]).replace_schema_metadata({VERSION_KEY: b"5"})
    data = table_to_parquet_bytes(table)
    (row,) = parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name="x.parquet").to_pylist()
    assert row_to_trajectory(row) == make_trajectory()


def test_a_step_back_is_a_row_of_its_own_kind() -> None:
    mask = np.ones((2, 3), np.bool_)
    given = builders.trajectory(
        builders.target(mask),
        builders.step(mask, Click(1, 1, True)),
        builders.step(mask, Box(0, 0, 2, 2), is_initial=False),
        builders.step(mask, Undo()),
    )
    row = trajectory_to_row(given)
    assert [step["kind"] for step in row["steps"]] == ["click", "box", "undo"]
    places = ("x", "y", "is_positive", "x0", "y0", "x1", "y1")
    assert {row["steps"][2][name] for name in places} == {None}
    assert row_to_trajectory(row) == given
    row["steps"] = row["steps"][2:]
    with pytest.raises(DataError, match="an undo with no action before it"):
        row_to_trajectory(row)


def test_a_file_without_version_is_named() -> None:
    data = table_to_parquet_bytes(pa.table({"a": [1]}))
    with pytest.raises(DataError, match=r"x\.parquet: schema version none, expected 6"):
        parquet_bytes_to_table(data, schema=TRAJECTORY_SCHEMA, name="x.parquet")


def test_missing_columns_are_named() -> None:
    table = trajectory_table([make_trajectory()]).drop_columns(["seed", "policy"])
    with pytest.raises(DataError, match=r"x\.parquet: column\(s\) policy, seed missing; found"):
        parquet_bytes_to_table(
            table_to_parquet_bytes(table), schema=TRAJECTORY_SCHEMA, name="x.parquet"
        )


def test_a_column_of_another_type_is_named() -> None:
    table = trajectory_table([make_trajectory()])
    index = table.schema.get_field_index("seed")
    table = table.set_column(index, "seed", pa.array(["0"]))
    with pytest.raises(DataError, match="seed is string, expected int64"):
        parquet_bytes_to_table(
            table_to_parquet_bytes(table), schema=TRAJECTORY_SCHEMA, name="x.parquet"
        )


def test_an_unknown_column_is_named() -> None:
    table = trajectory_table([make_trajectory()]).append_column("mood", pa.array(["good"]))
    with pytest.raises(DataError, match="mood is unknown"):
        parquet_bytes_to_table(
            table_to_parquet_bytes(table), schema=TRAJECTORY_SCHEMA, name="x.parquet"
        )


def test_every_column_is_described_in_markdown() -> None:
    lines = schema_to_markdown(TRAJECTORY_SCHEMA).splitlines()
    assert lines[:2] == ["| column | type | meaning |", "|---|---|---|"]
    assert any(line.startswith("| `steps[].mask_rle` | string | the mask after") for line in lines)
    assert "| `expressions` | list of string | texts that name the object |" in lines
    assert all(line.count("|") == 4 for line in lines)


@pytest.fixture
def parquet_path(tmp_path: Path) -> Path:
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(
        table_to_parquet_bytes(trajectory_table([make_trajectory("t1"), make_trajectory("t2")]))
    )
    return path


def test_pandas_opens_it(parquet_path: Path) -> None:
    frame = pd.read_parquet(parquet_path)
    assert frame["target_id"].tolist() == ["t1", "t2"]
    assert frame["steps"].tolist()[0][1]["x"] == 2


def test_duckdb_queries_the_steps(parquet_path: Path) -> None:
    rows = (
        duckdb.connect()
        .execute(
            f"SELECT target_id, s.x, s.y, s.iou FROM (SELECT target_id, unnest(steps) AS s "
            f"FROM '{parquet_path}') WHERE s.kind = 'click' ORDER BY target_id"
        )
        .fetchall()
    )
    assert rows == [("t1", 2, 1, 1.0), ("t2", 2, 1, 1.0)]


def test_hugging_face_datasets_opens_it(
    parquet_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(parquet_path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [row_to_trajectory(row) for row in loaded] == [
        make_trajectory("t1"),
        make_trajectory("t2"),
    ]
