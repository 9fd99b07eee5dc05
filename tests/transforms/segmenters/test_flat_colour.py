from __future__ import annotations

import numpy as np

from hlmat import build_target, roll_out
from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.flat_colour import FlatColourSegmenter


def test_it_is_right_at_the_first_click() -> None:
    truth = np.zeros((12, 16), np.bool_)
    truth[3:9, 4:11] = True
    image = np.where(truth[..., None], (200, 0, 0), (10, 0, 0)).astype(np.uint8)
    trajectory = roll_out(build_target(truth), image, segmenter=FlatColourSegmenter())
    assert (trajectory.num_clicks, trajectory.final_iou) == (1, 1.0)


def test_without_a_click_there_is_no_mask() -> None:
    segmenter = FlatColourSegmenter(sleep_ms=0.1)
    segmenter.set_image(np.zeros((2, 3, 3), np.uint8))
    assert not segmenter.predict(clicks=()).mask.any()
    assert segmenter.predict(clicks=[Click(x=1, y=1, is_positive=True)]).mask.all()
