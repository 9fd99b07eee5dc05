"""Every segmenter that comes with the package has a reference."""

from __future__ import annotations

import pytest

from hlmat.transforms.segmenters.citations import segmenter_citations
from hlmat.transforms.segmenters.hf.families import FAMILIES
from hlmat.transforms.segmenters.registry import SEGMENTERS


def test_every_segmenter_is_cited():
    own = {name for name in SEGMENTERS if segmenter_citations({"name": name})}
    # A model of transformers is cited by its type.
    assert own == set(SEGMENTERS) - {"hf"}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_model_type_of_transformers_is_cited(model_type: str):
    (first, *_) = segmenter_citations({"name": "hf", "model_type": model_type})
    titles = {"sam": "Segment Anything", "edgetam": "EdgeTAM:"}
    name = model_type.split("_")[0]
    assert titles.get(name, f"SAM {name[-1]}:") in first


def test_of_a_class_of_the_users_nothing_is_known():
    assert segmenter_citations({"name": "my_tools:Mine", "source_sha256": "ab"}) == ()
