"""Flags on targets: read from CSV, written, matched with the targets of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.export.runs.flags import (
    FLAG_COLUMNS,
    Flag,
    FlagKind,
    TargetFlags,
    counts_of,
    flags_path,
    flags_to_csv,
    load_flags,
    read_flags,
)
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.storage import MemoryStorage

KEYS = [("d", "train", "t0"), ("d", "train", "t1"), ("d", "val", "t1")]

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["=1", "'=1", "''-x", "a\r\nb", " "]
)
named = texts.filter(bool)
flags = st.builds(
    Flag, texts, texts, named, st.sampled_from([FlagKind.DROP, FlagKind.NOTE]), note=texts
) | st.builds(Flag, texts, texts, named, st.just(FlagKind.FIX), texts, named, texts)


def dropped(target_id: str, **changes: str) -> Flag:
    return Flag(
        changes.pop("dataset", "d"), changes.pop("split", "train"), target_id, FlagKind.DROP
    )


def fixed(old: str, new: str) -> Flag:
    return Flag("d", "train", "t0", FlagKind.FIX, old, new)


def read(text: str) -> list[Flag]:
    return read_flags(text.encode(), name="f.csv")


@given(st.lists(flags, unique_by=lambda flag: flag.place))
def test_written_flags_are_read_as_they_were(made: list[Flag]) -> None:
    data = flags_to_csv(made)
    assert sorted(read_flags(data, name="f.csv")) == sorted(made)
    assert flags_to_csv(reversed(made)) == data


def test_no_cell_begins_like_a_formula() -> None:
    data = flags_to_csv([Flag("d", "s", "=HYPERLINK(1)", FlagKind.NOTE, note="-1")])
    assert data.decode().splitlines()[1] == '"d","s","\'=HYPERLINK(1)","note","","","\'-1"'


def test_a_table_of_ones_own_needs_two_columns() -> None:
    made = read("\ufeffflag,score,target_id\nDrop,0.1,t0\n\nnote,0.2,t1\nnote,0.3,t1\n")
    assert made == [
        Flag("", "", "t0", FlagKind.DROP),
        Flag("", "", "t1", FlagKind.NOTE),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"f\.csv: column\(s\) target_id, flag missing in the first line; expected dataset, "),
        ("target_id,flag,flag\n", "the first line names a column twice"),
        ("target_id,flag\nt0\n", r"f\.csv, line 2: 1 cells, expected 2"),
        ("target_id,flag\n,drop\n", "line 2: target_id is empty"),
        ("target_id,flag\nt0,drpo\n", "line 2: flag 'drpo'; did you mean 'drop'"),
        ("target_id,flag\nt0,fix\n", "line 2: a fix without expression and replacement"),
        ("target_id,flag,replacement\nt0,drop,x\n", "belong to the flag fix, not to drop"),
        ('target_id,flag\n"t0,drop\n', "is not CSV"),
        (f"target_id,flag,note\nt0,note,{'x' * (2 << 20)}\n", "is not CSV"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text)


def test_other_encodings_and_missing_files_are_named() -> None:
    with pytest.raises(DataError, match="is not UTF-8"):
        read_flags("target_id,flag\nä,drop\n".encode("latin-1"), name="f.csv")
    with pytest.raises(DataError, match=r"no\.csv: no such file; write flags with `hlmat edit`"):
        load_flags(MemoryStorage(), "no.csv")


def test_flags_find_their_targets() -> None:
    made = [dropped("t0", dataset="", split=""), dropped("t1", split="val")]
    found = TargetFlags(made, KEYS, name="f.csv", run="out")
    assert found.dropped == {KEYS[0], KEYS[2]}
    assert {flag.split for flag in found.with_keys()} == {"train", "val"}
    assert found.of(KEYS[1]) == ()


def test_flags_of_no_target_or_several_are_refused() -> None:
    with pytest.raises(DataError, match=r"f\.csv: out has no target 't7'; name the run"):
        TargetFlags([dropped("t7")], KEYS, name="f.csv", run="out")
    with pytest.raises(DataError, match="'t1' is the id of 2 targets of out; fill the columns"):
        TargetFlags([dropped("t1", split="")], KEYS, name="f.csv", run="out")
    ignored = TargetFlags([dropped("t7")], KEYS, name="f.csv", run="out", others_ignored=True)
    assert ignored.keys == frozenset()


@pytest.mark.parametrize(
    ("fixes", "after"),
    [
        ([], ("a", "b")),
        ([("a", "c")], ("c", "b")),
        ([("a", "b")], ("b",)),
        ([("a", "")], ("b",)),
        ([("", "c")], ("c",)),
        ([("", "c"), ("b", "d")], ("c", "d")),
    ],
)
def test_fixes_replace_expressions(fixes: list[tuple[str, str]], after: tuple[str, ...]) -> None:
    made = [fixed(*each) for each in fixes]
    found = TargetFlags(made, KEYS, name="f.csv", run="out")
    assert found.expressions(KEYS[0], ("a", "b")) == after
    assert found.expressions(KEYS[1], ("a", "b")) == ("a", "b")


def test_fixes_that_do_not_fit_are_refused() -> None:
    found = TargetFlags([fixed("cpu", "x")], KEYS, name="f.csv", run="out")
    with pytest.raises(DataError, match="has no expression 'cpu'; did you mean 'cup'"):
        found.expressions(KEYS[0], ("cup",))
    found = TargetFlags([fixed("cup", "")], KEYS, name="f.csv", run="out")
    with pytest.raises(DataError, match="leave it without an expression"):
        found.expressions(KEYS[0], ("cup",))


def test_flags_are_beside_the_run_and_counted_by_target() -> None:
    assert flags_path("out/x/") == "out/x-flags.csv"
    assert flags_path("s3://b/x/") == "s3://b/x-flags.csv"
    made = [fixed("a", "b"), fixed("c", "d"), dropped("t1")]
    assert counts_of(made) == {"drop": 1, "fix": 1, "note": 0}
    assert flags_to_csv([]).decode() == ",".join(f'"{name}"' for name in FLAG_COLUMNS) + "\n"
