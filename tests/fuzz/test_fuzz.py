"""Every parser on inputs that are nearly right: it reads them or raises the project's own error."""

from __future__ import annotations

import logging

import pytest

from fuzz import data_targets, file_targets, text_targets
from fuzz.running import SECONDS, Target, fuzz

TARGETS = (*text_targets.TARGETS, *data_targets.TARGETS, *file_targets.TARGETS)
_log = logging.getLogger("fuzz")


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_the_expected_errors(target: Target) -> None:
    count = fuzz(target, seconds=SECONDS / len(TARGETS))
    _log.info("%s: %d inputs", target.name, count)
    assert count > 0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_valid_input_is_read(target: Target) -> None:
    target.run(target.valid)
