"""Every data set has a reference, or is known to hold anyone's data."""

from __future__ import annotations

from hlmat.transforms.readers.citations import CITATIONS, CITATIONS_IN_FORMATS
from hlmat.transforms.readers.registry import DATASETS


def test_every_data_set_is_cited_or_holds_anyones_data_or_is_drawn():
    assert {*CITATIONS, *CITATIONS_IN_FORMATS, "shapes"} == set(DATASETS)
    assert not set(CITATIONS) & set(CITATIONS_IN_FORMATS)
