"""The page's scripts are typed, and the page is accessible, as two tools of its field see it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from browser_pages import Load
from repository import REPOSITORY

TOOLS = REPOSITORY / "build" / "page_tools" / "node_modules"
PAGE = REPOSITORY / "export" / "view" / "page"
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="no tsc and axe: make page-tools")


def test_types_are_right() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    tsc = [node, str(TOOLS / "typescript" / "bin" / "tsc"), "--noEmit"]
    kind = ["--allowJs", "--checkJs", "--strict", "--target", "es2022"]
    libraries = ["--lib", "es2022,dom,dom.iterable"]
    scripts = sorted(map(str, PAGE.glob("*.js")))
    done = subprocess.run([*tsc, *kind, *libraries, *scripts], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("hash", ["", "#target=t3", "#show=rejects", "#q=nothing"])
def test_axe_finds_nothing(load: Load, scheme: str, hash: str) -> None:
    tab = load(hash)
    tab.emulate_media(color_scheme=scheme)
    tab.evaluate((TOOLS / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems = [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
    assert problems == []
