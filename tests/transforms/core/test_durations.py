"""Durations in words."""

from __future__ import annotations

import pytest

from hlmat.transforms.core.durations import rough_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 second"),
        (1.4, "1 second"),
        (1.6, "2 seconds"),
        (119.0, "119 seconds"),
        (120.0, "2 minutes"),
        (1_396.0, "23 minutes"),
        (7_199.0, "120 minutes"),
        (7_500.0, "2.1 hours"),
    ],
)
def test_a_duration_has_the_unit_a_reader_would_use(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text
