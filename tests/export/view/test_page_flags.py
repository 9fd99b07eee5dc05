"""Flags that a page shows and changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlmat.export.runs.flags import Flag, FlagKind, flags_to_csv, load_flags
from hlmat.export.view.page_flags import PageFlags
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.storage import LocalStorage
from viewed_runs import clicked, viewed, write_run


@pytest.fixture
def flags(tmp_path: Path) -> PageFlags:
    run = write_run(tmp_path / "run", [clicked(n, 10) for n in range(3)])
    return PageFlags(LocalStorage(), str(tmp_path / "f.csv"), viewed(run).targets)


def asked(n: Any, *, drop: Any = False, note: Any = "", fixes: Any = None) -> bytes:
    return json.dumps({"n": n, "drop": drop, "note": note, "fixes": fixes or {}}).encode()


def stored(flags: PageFlags) -> list[Flag]:
    return load_flags(flags.storage, flags.path)


def test_without_a_file_no_target_has_flags(flags: PageFlags) -> None:
    assert flags.by_number() == {}
    assert not Path(flags.path).exists()


def test_what_is_set_is_shown_and_stored(flags: PageFlags) -> None:
    flags.set(asked(1, drop=True, note="bad"))
    flags.set(asked(2, note="look", fixes={"object 2": "the cup"}))
    assert flags.by_number() == {
        "1": {"drop": True, "note": "bad", "fixes": {}},
        "2": {"drop": False, "note": "look", "fixes": {"object 2": "the cup"}},
    }
    assert stored(flags) == [
        Flag("d", "s", "t1", FlagKind.DROP, note="bad"),
        Flag("d", "s", "t2", FlagKind.FIX, "object 2", "the cup"),
        Flag("d", "s", "t2", FlagKind.NOTE, note="look"),
    ]


def test_setting_again_replaces_all_flags_of_the_target_alone(flags: PageFlags) -> None:
    kept = Flag("d", "s", "t0", FlagKind.DROP)
    other = Flag("", "", "of another run", FlagKind.NOTE, note="x")
    short = Flag("", "", "t1", FlagKind.DROP)
    flags.storage.write_bytes(flags.path, flags_to_csv([kept, other, short]))
    flags.set(asked(1))
    assert stored(flags) == [other, kept]
    assert list(flags.by_number()) == ["0"]


def test_a_fix_that_changes_nothing_is_no_flag(flags: PageFlags) -> None:
    flags.set(asked(0, fixes={"object 0": "object 0"}))
    assert stored(flags) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "Expecting"),
        (b"[]", "expected n, drop, note and fixes"),
        (b'{"n": 0}', "expected n, drop, note and fixes"),
        (asked(3), "there is no target 3"),
        (asked(-1), "there is no target -1"),
        (asked(True), "there is no target True"),
        (asked("0"), "there is no target '0'"),
        (asked(0, drop=1), "expected drop as true or false"),
        (asked(0, note="x" * 10_001), "at most 10000 characters"),
        (asked(0, fixes={"no": "x"}), "has no expression 'no'"),
        (asked(0, fixes={"object 0": ""}), "leave it without an expression"),
        (asked(0, fixes={"object 0": 1}), "expected texts"),
    ],
)
def test_anything_else_is_refused_and_nothing_is_written(
    flags: PageFlags, data: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        flags.set(data)
    assert not Path(flags.path).exists()


def test_a_file_that_is_something_else_is_kept(flags: PageFlags) -> None:
    Path(flags.path).write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="missing in the first line"):
        flags.set(asked(0, drop=True))
    assert Path(flags.path).read_text() == "a,b\n1,2\n"


def test_a_place_that_cannot_be_written_is_named(flags: PageFlags, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    closed = PageFlags(flags.storage, str(tmp_path / "file" / "f.csv"), flags.targets)
    with pytest.raises(OutputError, match=r"f\.csv cannot be written: .*--flags"):
        closed.set(asked(0, drop=True))
