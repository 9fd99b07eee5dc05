from __future__ import annotations

import pytest

from hlmat.transforms.core.options import OptionsError
from hlmat.transforms.readers.column_names import parse_columns
from hlmat.transforms.readers.options import ReaderOptions


def test_names_are_read() -> None:
    assert parse_columns("image=a,text=b c") == {"image": "a", "text": "b c"}
    assert ReaderOptions("data", columns="image=a").columns == "image=a"


@pytest.mark.parametrize("text", ["", "image", "image=", "picture=a", "image=a,image=b", "=a"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="of the keys image, mask, segmentation, text, objects"):
        parse_columns(text)
    with pytest.raises(OptionsError):
        ReaderOptions("data", columns=text)
