from __future__ import annotations

import contextlib
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.readers.files.pickle import load_plain_pickle
from hostile_pickles import HOSTILE_PICKLES

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(0, 2**64 - 1), inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


class Poison:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


class Stateful:
    pass


@given(content=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_content_of_every_protocol(content: object, protocol: int) -> None:
    assert load_plain_pickle(pickle.dumps(content, protocol), name="a.p") == content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sets(protocol: int) -> None:
    content = [{1, 2}, frozenset("a")]
    assert load_plain_pickle(pickle.dumps(content, protocol), name="a.p") == content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [b"", b"PPYo0\\", bytes(range(256))])
def test_bytes(content: bytes, protocol: int) -> None:
    assert load_plain_pickle(pickle.dumps(content, protocol), name="a.p") == content


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(b"c_codecs\nencode\n(Va\nVrot13\ntR.", id="another codec"),
        pytest.param(b"cbuiltins\nbytes\n(I999999999999\ntR.", id="memory without end"),
    ],
)
def test_bytes_are_made_of_latin1_alone(call: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.p is not a pickle.*are made of a text in latin1"):
        load_plain_pickle(call, name="a.p")


def test_a_pickle_cut_short() -> None:
    data = pickle.dumps([{"ref_id": 1}])
    with pytest.raises(DataError, match=r"a\.p is not a pickle, or is damaged.*download it again"):
        load_plain_pickle(data[:-3], name="a.p")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_poison_does_not_run(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    data = pickle.dumps([{"ref_id": 1}, Poison(trace)], protocol)
    with pytest.raises(DataError, match=r"refs\.p is refused.*mkdir"):
        load_plain_pickle(data, name="refs.p")
    assert not trace.exists()
    pickle.loads(data)
    assert trace.exists(), "the pickle is poisoned indeed"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="GLOBAL and REDUCE"),
        pytest.param(b"(S'true'\nios\nsystem\n.", id="INST"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", id="STACK_GLOBAL"),
        pytest.param(b"cbuiltins\neval\n.", id="a builtin, not called"),
        pytest.param(b"\x80\x02cbuiltins\ngetattr\n.", id="getattr"),
        pytest.param(b"Pmodule\n.", id="a persistent id"),
    ],
)
def test_every_way_to_a_name_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="refused"):
        load_plain_pickle(data, name="a.p")


def test_instances_are_refused() -> None:
    with pytest.raises(DataError, match="Stateful"):
        load_plain_pickle(pickle.dumps(Stateful()), name="a.p")


@given(st.binary(max_size=40))
def test_garbage_gives_plain_data_or_a_data_error(data: bytes) -> None:
    plain = (list, dict, tuple, set, frozenset, int, float, str, bytes, bytearray, type(None))
    with contextlib.suppress(DataError):
        assert isinstance(load_plain_pickle(data, name="a.p"), plain)


@pytest.mark.slow
@pytest.mark.parametrize("data", HOSTILE_PICKLES.values(), ids=HOSTILE_PICKLES)
def test_small_files_that_are_endless_to_read_are_refused(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^a\.p (is not a pickle, or is damaged|is refused)"):
            load_plain_pickle(data, name="a.p")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_parts_that_many_share_are_read() -> None:
    words, image = ["a", "cup"], {"width": 3}
    content = [{"words": words, "image": image, "id": number} for number in range(2000)]
    assert load_plain_pickle(pickle.dumps(content), name="a.p") == content


def test_a_nest_of_a_hundred_levels() -> None:
    content: list[Any] = []
    for _ in range(100):
        content = [content]
    assert load_plain_pickle(pickle.dumps(content), name="a.p") == content
    with pytest.raises(DataError, match="nests deeper than 100 levels, or holds itself"):
        load_plain_pickle(pickle.dumps([content]), name="a.p")


@pytest.mark.parametrize("number", [2**72, -(2**72)])
def test_numbers_of_more_than_64_bits_are_refused(number: int) -> None:
    for protocol in (0, 4):
        with pytest.raises(DataError, match="numbers of 64 bits are read"):
            load_plain_pickle(pickle.dumps(number, protocol), name="a.p")


def test_texts_of_python_2() -> None:
    data = b"(lp0\nS'caf\\xc3\\xa9'\np1\naS'\\xff'\np2\na."
    assert load_plain_pickle(data, name="a.p") == ["café", "\ufffd"]
