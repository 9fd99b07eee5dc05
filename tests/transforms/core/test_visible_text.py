from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.visible_text import (
    VisibleStream,
    unfiltered,
    visible,
    visible_json,
    visible_output,
)

ANY_TEXT = st.text(st.characters(categories=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("a\x9b2Jb\x7f\x08\r", r"a\x9b2Jb\x7f\x08\r"),
        ("a\nb", "a\nb"),
        ("caf\u00e9 \u5bb6 \u3000\u00a0.", "caf\u00e9 \u5bb6 \u3000\u00a0."),
        ("a\u200db\u200cc", "a\u200db\u200cc"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("caf\udce9.jpg", r"caf\udce9.jpg"),
        ("a\u2028b\u2029c\ufeff", r"a\u2028b\u2029c\ufeff"),
    ],
)
def test_what_commands_a_terminal_is_an_escape(text: str, shown: str):
    assert visible(text) == shown


@given(ANY_TEXT)
def test_no_control_character_is_left(text: str):
    left = {unicodedata.category(c) for c in visible(text) if c not in "\n\u200c\u200d"}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.recursive(ANY_TEXT | st.integers(), st.lists, max_leaves=5))
def test_json_keeps_its_content(content: object):
    text = visible_json(json.dumps(content, ensure_ascii=False, indent=1))
    assert json.loads(text) == content
    assert text == visible(text)


def test_everything_printed_within_the_block(capsys: pytest.CaptureFixture[str]):
    streams = sys.stdout, sys.stderr
    with visible_output():
        sys.stdout.write("a\x1b[2Jb\n")
        sys.stderr.write("c\x07\n")
        sys.stderr.writelines(["d\x08", "e\n"])
        assert unfiltered(sys.stderr) is streams[1]
    assert (sys.stdout, sys.stderr) == streams
    assert unfiltered(sys.stderr) is sys.stderr
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a\\x1b[2Jb\n", "c\\x07\nd\\x08e\n")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", rb"caf\xe9 \u5bb6"), ("utf-8", None)])
def test_what_an_encoding_lacks_is_an_escape(encoding: str, shown: bytes | None):
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding, write_through=True)
    assert VisibleStream(stream).write("caf\u00e9 \u5bb6") == 6
    assert data.getvalue() == (shown or "caf\u00e9 \u5bb6".encode())
