from __future__ import annotations

import pytest

from hlmat.transforms.core.suggestions import closest, did_you_mean

KNOWN = ("oracle", "random", "testB")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orcale", "oracle"),
        ("TESTB", "testB"),  # the case of letters does not count
        ("zzz", None),
        ("", None),
    ],
)
def test_closest(name: str, expected: str | None) -> None:
    assert closest(name, KNOWN) == expected


def test_any_name_is_close_enough_without_a_cutoff() -> None:
    assert closest("zzz", ["other"], cutoff=0.0) == "other"
    assert closest("zzz", [], cutoff=0.0) is None


def test_the_suggestion_ends_with_a_space() -> None:
    assert did_you_mean("rondam", KNOWN) == "did you mean 'random'? "
    assert did_you_mean("zzz", KNOWN) == ""
