from __future__ import annotations

import json
import math

from hypothesis import example, given
from hypothesis import strategies as st

from hlmat.transforms.readers.files.coco_segmentation import segmentation_ref

NUMBERS = st.floats() | st.integers() | st.decimals(-500, 500, places=2).map(float)


@given(st.lists(st.lists(NUMBERS | st.none() | st.text(max_size=3), max_size=5), max_size=3))
@example([[1e-5, 0.00001234, 1e16, -0.0, math.nan, math.inf, 2**70, 10.00001]])
def test_polygons_are_written_as_python_does(polygons: list[list[object]]) -> None:
    content = {"segmentation": polygons, "size": [4, 6]}
    expected = json.dumps(content, separators=(",", ":"))
    assert segmentation_ref(polygons, size_hw=(4, 6)) == expected
