from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.readers.files.pickle import load_plain_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
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


def test_texts_of_python_2() -> None:
    data = b"(lp0\nS'caf\\xc3\\xa9'\np1\naS'\\xff'\np2\na."
    assert load_plain_pickle(data, name="a.p") == ["café", "\ufffd"]
