"""A browser, and a page to load in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from browser_pages import SCRIPT, Load, served
from builders import target_ref
from hlmat.export.view.page_files import PageFiles
from hlmat.transforms.core.records import Reject, RejectReason, StopReason
from viewed_runs import DrawnImages, clicked, page_of, write_run

WIDTHS = ((5, 10), (10,), (20,), (38, 25, 22), (2,), (15, 18))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; tests are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> PageFiles:
    """Six targets of IoU 0.5, 0.5, 1, 0.91, 0.1, 0.9; two rejects; one missing image."""
    made = [clicked(n, *widths) for n, widths in enumerate(WIDTHS)]
    made[0] = clicked(0, *WIDTHS[0], text=SCRIPT)
    made[1] = replace(clicked(1, *WIDTHS[1]), stop_reason=StopReason.NO_GAIN)
    made[2] = replace(made[2], steps=(replace(made[2].steps[0], answer=SCRIPT, score=0.8),))
    rejects = [
        Reject(target_ref("r0", SCRIPT), RejectReason.EMPTY_MASK, f"nothing in {SCRIPT}"),
        Reject(target_ref("r1", "a hole"), RejectReason.CROWD, "a crowd"),
    ]
    run = write_run(tmp_path_factory.mktemp("browser") / "run", made, rejects)
    return page_of(run, images=DrawnImages("4.png"))


@pytest.fixture(scope="module")
def address(page: PageFiles) -> Iterator[str]:
    with served(page) as address:
        yield address


@pytest.fixture
def browser_errors() -> list[str]:
    """The errors of a page's scripts; what is left of them fails the test."""
    return []


@pytest.fixture
def load(browser: Any, address: str, browser_errors: list[str]) -> Iterator[Load]:
    """Load a page once its index is complete; errors of its scripts fail the test."""
    tabs, problems = [], browser_errors

    def load(hash: str = "", *, at: str = address, width: int = 1280) -> Any:
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.set_default_timeout(120_000)
        tabs.append(tab)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        tab.goto(f"{at}{hash}")
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield load
    for tab in tabs:
        tab.close()
    assert [p for p in problems if "404" not in p and "ERR_FILE_NOT_FOUND" not in p] == []
