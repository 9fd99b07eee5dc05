from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import builders
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Reject, RejectReason
from hlmat.transforms.dataset_io.arrow import row_to_reject, row_to_trajectory, unit_table
from hlmat.transforms.dataset_io.schemas import UNIT_SCHEMA
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes, unit_to_bytes

TRUTH = np.eye(4, 6, dtype=np.bool_)
TRAJECTORY = builders.trajectory(builders.target(TRUTH), builders.step(TRUTH))
REJECT = Reject(TRAJECTORY.target.ref, RejectReason.MISSING_MASK, "no mask")


def test_a_units_file_has_its_items_in_order():
    data = unit_to_bytes([REJECT, TRAJECTORY], fingerprint="f00")
    table = unit_from_bytes(data, name="u")
    assert table.schema.equals(UNIT_SCHEMA, check_metadata=True)
    first, second = table.to_pylist()
    assert row_to_reject(first["reject"]) == REJECT
    assert row_to_trajectory(second["trajectory"]) == TRAJECTORY
    assert (first["trajectory"], second["reject"]) == (None, None)


def test_equal_items_give_equal_bytes():
    first = unit_to_bytes([REJECT, TRAJECTORY], fingerprint="f00")
    assert unit_to_bytes([REJECT, TRAJECTORY], fingerprint="f00") == first


@pytest.mark.parametrize("length", [0, 7, 2000, -1])
def test_a_file_that_ends_early_is_refused(length: int):
    data = unit_to_bytes([TRAJECTORY], fingerprint="f00")[:length]
    with pytest.raises(DataError, match=r"^a\.arrow: cannot be read as a unit's file \("):
        unit_from_bytes(data, name="a.arrow")


def test_a_changed_byte_is_refused_or_changes_no_type():
    data = unit_to_bytes([TRAJECTORY] * 3, fingerprint="f00")
    refused = 0
    for place in range(0, len(data), 97):
        changed = bytes([*data[:place], data[place] ^ 0x55, *data[place + 1 :]])
        try:
            table = unit_from_bytes(changed, name="u")
        except DataError:
            refused += 1
        else:
            assert table.schema.equals(UNIT_SCHEMA, check_metadata=True)
    assert refused > len(data) // 97 // 2


def test_a_unit_of_another_version_is_refused():
    old = UNIT_SCHEMA.with_metadata({b"hlmat.schema_version": b"4"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, old) as writer:
        writer.write_table(unit_table([TRAJECTORY], "f00").cast(old))
    with pytest.raises(DataError, match=r"^u: schema version 4, or other columns .*; expected 6$"):
        unit_from_bytes(sink.getvalue().to_pybytes(), name="u")
