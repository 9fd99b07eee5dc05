from __future__ import annotations

import json

from hlmat.transforms.core.error_place import error_place


class Tool:
    def fail(self) -> None:
        json.loads("{")


def caught() -> Exception:
    try:
        Tool().fail()
    except ValueError as error:
        return error
    raise AssertionError("it did not fail")


def test_the_last_line_of_the_owner_is_shown():
    line = Tool.fail.__code__.co_firstlineno + 1
    assert error_place(caught(), owner=Tool()) == (
        f' (test_error_place.py, line {line}: json.loads("{{"))'
    )


def test_without_an_owner_it_is_the_last_line_of_all():
    place = error_place(caught())
    assert place.startswith(" (decoder.py, line ")


def test_an_error_that_was_not_raised_has_no_place():
    assert error_place(ValueError("x")) == ""
