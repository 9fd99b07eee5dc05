from __future__ import annotations

from typing import Any

import pytest

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.readers.files.coco_captions import caption_texts

CAPTION = "a red box beside a cup"


def texts(annotation: dict[str, Any], image: dict[str, Any], of_image: int = 1) -> tuple[str, ...]:
    return caption_texts(annotation, image, of_image=of_image, name="annotation 1")


@pytest.mark.parametrize(
    ("annotation", "image", "of_image", "expected"),
    [
        ({}, {}, 1, ()),
        ({}, {"caption": "  "}, 1, ()),
        ({}, {"caption": CAPTION}, 1, (CAPTION,)),
        # A caption of many objects names none of them.
        ({}, {"caption": CAPTION}, 2, ()),
        ({"caption": "red"}, {"caption": CAPTION}, 1, ("red",)),
        ({"tokens_positive": [[2, 9]]}, {"caption": CAPTION}, 2, ("red box",)),
        ({"tokens_positive": [[17, 22], [2, 5]]}, {"caption": CAPTION}, 2, ("red a cup",)),
        ({"tokens_positive": []}, {"caption": CAPTION}, 1, (CAPTION,)),
        # In files of referring expressions the span is only the root of the phrase.
        (
            {"tokens_positive": [[2, 9]]},
            {"caption": CAPTION, "dataset_name": "refcoco+"},
            1,
            (CAPTION,),
        ),
        ({}, {"caption": CAPTION, "dataset_name": "grefcoco"}, 2, (CAPTION,)),
        ({"caption": ["red", " ", "red", "left"]}, {}, 1, ("red", "left")),
        ({"caption": 3, "expression": "red"}, {}, 1, ("red",)),
        ({}, {"caption": ["red", "left"]}, 1, ("red", "left")),
        ({}, {"caption": ["red", "left"]}, 2, ()),
    ],
)
def test_what_names_an_annotation(
    annotation: dict[str, Any], image: dict[str, Any], of_image: int, expected: tuple[str, ...]
) -> None:
    assert texts(annotation, image, of_image) == expected


@pytest.mark.parametrize("spans", [[[2, 99]], [[5, 5]], [[-1, 3]], [2, 9], [["a", 3]], "x", 7])
def test_spans_outside_of_the_caption(spans: object) -> None:
    with pytest.raises(TargetError, match="expected pairs of places in the 22 characters"):
        texts({"tokens_positive": spans}, {"caption": CAPTION})
