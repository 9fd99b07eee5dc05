"""Every data set explains what it needs; docs/datasets.md links the same sources."""

from __future__ import annotations

import re

import pytest

from hlmat.transforms.core.errors import ConfigError, LayoutError
from hlmat.transforms.readers.registry import DATASETS, ReaderOptions, missing_root, open_reader
from hlmat.transforms.readers.sources import SOURCES, UNKNOWN_SIZE, explain_layout, explain_source
from reader_fixtures import memory
from repository import REPOSITORY

ON_DISK = [name for name, entry in DATASETS.items() if entry.needs_data_root]
OF_THE_USER = ("folder", "trace")


def table_row(name: str) -> str:
    """Return the row of the table of sources in docs/datasets.md."""
    source = SOURCES[name]
    origin = f"<{source.origin}>" if source.origin.startswith("http") else source.origin
    return f"| `{name}` | {origin} | {source.size} | {DATASETS[name].license} |"


def test_every_data_set_has_a_source() -> None:
    assert set(SOURCES) == set(DATASETS)


@pytest.mark.parametrize("name", ON_DISK)
def test_the_message_without_a_root_has_layout_source_size_and_terms(name: str) -> None:
    lines = missing_root(name).splitlines()
    assert lines[0] == (
        f"--data-root is missing: {name} is read from a folder. "
        "Give --data-root DIR, or DATA_ROOT=DIR with make."
    )
    assert lines[1] == f"{name} expects below the data root:"
    layout = [line for line in lines if line.startswith("  ")]
    assert [line.strip() for line in layout] == list(SOURCES[name].layout)
    assert f"size: {SOURCES[name].size}" in lines
    assert f"terms: {DATASETS[name].license}" in lines
    assert lines[-1] == "--dataset shapes needs no files: its images are generated."
    [source] = [line for line in lines if line.startswith("source: ")]
    assert name in OF_THE_USER or re.fullmatch(r"source: https?://\S+", source)


@pytest.mark.parametrize("name", ON_DISK)
def test_a_size_is_a_quantity_or_stated_to_be_unknown(name: str) -> None:
    size = SOURCES[name].size
    assert name in OF_THE_USER or re.search(r"[0-9] [MG]B", size) or size == UNKNOWN_SIZE


@pytest.mark.parametrize("name", ON_DISK)
@pytest.mark.parametrize("data_root", [None, ""])
def test_opening_without_a_root_explains_the_same(name: str, data_root: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        open_reader(name, ReaderOptions(data_root))
    assert error.value.problems == (missing_root(name),)


@pytest.mark.parametrize("name", ON_DISK)
@pytest.mark.parametrize(
    ("files", "seen"), [({}, "no such folder"), ({"unrelated.txt": b""}, "unrelated.txt")]
)
def test_a_wrong_layout_is_shown_beside_the_expected_one(
    name: str, files: dict[str, bytes], seen: str
) -> None:
    with pytest.raises(LayoutError) as error:
        open_reader(name, ReaderOptions("data", storage=memory(files)))
    found, _, expected = str(error.value).partition(f"\n{name} expects below the data root:\n")
    assert seen in found
    assert f"{name} expects below the data root:\n{expected}" == (
        f"{explain_layout(name)}\n{explain_source(name, terms=DATASETS[name].license)}"
    )


@pytest.mark.parametrize("name", ON_DISK)
def test_the_documentation_links_each_source(name: str) -> None:
    text = (REPOSITORY / "docs/datasets.md").read_text(encoding="utf-8")
    assert table_row(name) in text.splitlines()
