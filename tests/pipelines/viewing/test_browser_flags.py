"""Flags set in a browser: stored by a server, or downloaded from a saved page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from browser_pages import SCRIPT, Load, served, status, until, wait_until
from hlmat.export.runs.flags import Flag, FlagKind, load_flags, read_flags
from hlmat.export.view.page_files import PageFiles
from hlmat.export.view.page_flags import PageFlags
from hlmat.pipelines.viewing.save import save_page
from hlmat.transforms.core.storage import LocalStorage
from viewed_runs import clicked, page_of, viewed, write_run

pytestmark = pytest.mark.browser


@pytest.fixture
def editable(tmp_path: Path) -> PageFiles:
    made = [clicked(0, 10, text=SCRIPT), clicked(1, 15), clicked(2, 20)]
    run = write_run(tmp_path / "run", made)
    flags = PageFlags(LocalStorage(), str(tmp_path / "run-flags.csv"), viewed(run).targets)
    return page_of(run, flags=flags, can_save=True)


def stored(page: PageFiles) -> list[Flag]:
    assert page.flags is not None
    return load_flags(LocalStorage(), page.flags.path)


def feedback(tab: Any, text: str) -> None:
    wait_until(
        tab, "text => document.querySelector('.feedback').textContent.startsWith(text)", text
    )


def change(tab: Any, name: str, text: str) -> None:
    tab.fill(f"[name={name}]", text)
    tab.press(f"[name={name}]", "Enter")


def test_flags_are_stored_and_filtered(load: Load, editable: PageFiles) -> None:
    with served(editable) as address:
        tab = load("#target=t1", at=address)
        tab.wait_for_selector("[name=flag-drop]")
        tab.check("[name=flag-drop]")
        feedback(tab, "stored")
        change(tab, "flag-note", "a shadow")
        feedback(tab, "stored")
        wait_until(tab, "fetch('data/flags.js').then(a => a.text()).then(t => /shadow/.test(t))")
        tab.click("#back")
        tab.wait_for_selector("#grid .flag")
        assert tab.text_content("#flags") == "Flags: drop 1, note 1"
        tab.select_option("[name=flag]", "drop")
        until(tab, "1 of 3 targets")
        tab.select_option("[name=flag]", "none")
        until(tab, "2 of 3 targets")
        assert stored(editable) == [Flag("d", "s", "t1", FlagKind.DROP, note="a shadow")]
        again = load("#target=t1", at=address)
        again.wait_for_selector("[name=flag-drop]")
        assert again.is_checked("[name=flag-drop]")
        assert again.input_value("[name=flag-note]") == "a shadow"
        again.uncheck("[name=flag-drop]")
        feedback(again, "stored")
        change(again, "flag-note", "")
        wait_until(again, "fetch('data/flags.js').then(a => a.text()).then(t => !/shadow/.test(t))")
        assert stored(editable) == []


def test_texts_are_replaced_and_one_must_be_left(load: Load, editable: PageFiles) -> None:
    with served(editable) as address:
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("[name=flag-text-0]")
        assert tab.input_value("[name=flag-text-0]") == SCRIPT
        change(tab, "flag-text-0", "")
        feedback(tab, "Not stored: one text must be left")
        change(tab, "flag-text-0", "np=1")
        feedback(tab, "stored")
        assert tab.evaluate("location.hash") == "#target=t0"
        assert stored(editable) == [Flag("d", "s", "t0", FlagKind.FIX, SCRIPT, "np=1")]


def test_what_the_server_refuses_is_told(
    load: Load, editable: PageFiles, browser_errors: list[str]
) -> None:
    assert editable.flags is not None
    with served(editable) as address:
        tab = load("#target=t0", at=address)
        tab.wait_for_selector("[name=flag-drop]")
        Path(editable.flags.path).write_text("x")
        tab.check("[name=flag-drop]")
        feedback(tab, "not stored: ")
        assert "missing in the first line" in tab.text_content(".feedback")
        browser_errors.clear()


@pytest.mark.slow
def test_a_saved_page_offers_its_flags_as_a_file(
    load: Load, editable: PageFiles, tmp_path: Path
) -> None:
    saved = page_of(tmp_path / "run")
    save_page(saved, str(tmp_path / "page"), quiet=True)
    tab = load("#target=t0", at=(tmp_path / "page" / "index.html").as_uri())
    tab.wait_for_selector("[name=flag-note]")
    change(tab, "flag-text-0", '=a "cup", left')
    change(tab, "flag-note", "'-look")
    feedback(tab, "kept on this page")
    tab.click("#back")
    with tab.expect_download() as waiting:
        tab.click("#download")
    data = Path(waiting.value.path()).read_bytes()
    assert waiting.value.suggested_filename == "flags.csv"
    assert read_flags(data, name="f") == [
        Flag("d", "s", "t0", FlagKind.NOTE, note="'-look"),
        Flag("d", "s", "t0", FlagKind.FIX, SCRIPT, '=a "cup", left'),
    ]
    assert status(tab) == "3 of 3 targets"
