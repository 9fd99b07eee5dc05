from __future__ import annotations

import pyarrow as pa
import pytest

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import RejectReason, StopReason
from hlmat.transforms.dataset_io.schemas import (
    REJECT_SCHEMA,
    TRAJECTORY_SCHEMA,
    UNIT_SCHEMA,
    check_schema,
    schema_to_markdown,
)
from repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "formats.md"


@pytest.mark.parametrize("schema", [TRAJECTORY_SCHEMA, REJECT_SCHEMA])
def test_the_document_shows_the_schema_s_own_table(schema: pa.Schema) -> None:
    assert schema_to_markdown(schema) in DOCUMENT.read_text(encoding="utf-8"), (
        "docs/formats.md must hold what schema_to_markdown prints:\n" + schema_to_markdown(schema)
    )


def test_every_reason_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"`{reason.value}`" in text for reason in [*StopReason, *RejectReason])


@pytest.mark.parametrize("schema", [TRAJECTORY_SCHEMA, REJECT_SCHEMA, UNIT_SCHEMA])
def test_a_schema_accepts_itself_and_no_part_of_it(schema: pa.Schema) -> None:
    check_schema(schema, expected=schema, name="x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: column\(s\) .* missing"):
        check_schema(schema.remove(1), expected=schema, name="x.parquet")
