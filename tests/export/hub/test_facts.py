"""Names of splits, sizes and licenses as the Hub has them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.export.hub.declared_license import DeclaredLicense
from hlmat.export.hub.facts import Publication, PublishedFile, SourceTerms, hub_split
from hlmat.transforms.readers.registry import DATASETS
from hlmat.transforms.readers.terms import (
    IMAGE_RIGHTS,
    LICENSES,
    ImageRights,
    image_rights,
)


def facts(*sources: str, rows: int = 1, segmenter: str = "sam") -> Publication:
    """Return the facts of a data set with rows of some sources."""
    return Publication(
        name="mine",
        runs={"train": {"segmenter": {"name": segmenter}}, "val": {"segmenter": {"name": "sam"}}},
        counts={},
        sources=[SourceTerms(name, LICENSES[name], has_images=False) for name in sources],
        states={"train": [PublishedFile("states/a.parquet", rows, 10, 20, "00")]},
        trajectories={},
        drawn={},
        version="1",
        date="2026-11-27",
    )


@given(st.text())
def test_every_split_has_a_name_that_datasets_takes(split: str):
    # As datasets.naming checks it; "all" selects every split.
    name = hub_split(split)
    assert re.match(r"^\w+(\.\w+)*$", name)
    assert name != "all"


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (250_000, "100K<n<1M"), (10**9, "n>1T")],
)
def test_sizes(rows: int, category: str):
    assert facts("shapes", rows=rows).size_category == category


def test_the_license_is_that_of_all_sources_or_other():
    assert facts("shapes").license_id == "cc0-1.0"
    assert facts("thinobject5k").license_id == "cc-by-nc-4.0"
    assert facts("thinobject5k", "dis5k").license_id == "other"
    own = SourceTerms("thinobject5k", "as the file says", has_images=True)
    assert own.license_id is None


def test_each_reference_is_cited_once():
    cited = facts("refcoco", "refcoco+", "refcocog").citations
    assert [text.partition(",")[0] for text in cited] == [
        "Zhu et al.",
        "Yu et al.",
        "Lin et al.",
        "Mao et al.",
        "Kirillov et al.",
    ]
    assert len(facts("shapes", segmenter="simpleclick").citations) == 3


def test_only_licensed_images_may_be_published_by_anyone():
    granted = {name for name, rights in IMAGE_RIGHTS.items() if rights is ImageRights.GRANTED}
    assert granted == {"shapes", "thinobject5k"}
    assert set(IMAGE_RIGHTS) == set(DATASETS)
    assert image_rights("never heard of") is ImageRights.NOT_GRANTED


def test_the_publishers_own_data_is_not_cited():
    declared = DeclaredLicense("cc-by-4.0", "CC BY 4.0", "https://example.org")
    own = SourceTerms("coco", "CC BY 4.0", has_images=True, declared=declared)
    published = replace(facts("dis5k"), sources=[*facts("dis5k").sources, own])
    assert published.cited_sources == ["dis5k"]
