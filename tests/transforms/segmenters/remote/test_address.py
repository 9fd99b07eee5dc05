"""Addresses in place of a segmenter's name."""

from __future__ import annotations

import pytest

from hlmat.transforms.segmenters.registry import check_segmenter_name
from hlmat.transforms.segmenters.remote.address import is_address


@pytest.mark.parametrize("name", ["http://a", "https://a.example:1/x/", "HTTP://127.0.0.1:8100"])
def test_addresses_are_accepted(name: str) -> None:
    assert is_address(name)
    assert check_segmenter_name(name) is None


@pytest.mark.parametrize(
    "name", ["http://", "http://:80", "http://a:b", "http://a?x=1", "http://[a"]
)
def test_other_addresses_are_refused_by_name(name: str) -> None:
    assert check_segmenter_name(name) == (
        f"--segmenter {name!r}: expected the address of a server such as http://127.0.0.1:8100"
    )


def test_a_password_is_not_repeated() -> None:
    problem = check_segmenter_name("http://me:secret@a")
    assert problem is not None
    assert "secret" not in problem
    assert "must not hold a user name" in problem
