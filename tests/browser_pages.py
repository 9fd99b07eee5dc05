"""What tests read off a page in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hlmat.export.view.static_files import ViewedPage
from hlmat.pipelines.viewing.server import PageServer

SCRIPT = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
Load = Callable[..., Any]


@contextmanager
def served(page: ViewedPage) -> Iterator[str]:
    with PageServer(page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


def texts(tab: Any) -> list[str]:
    """Return the texts of the cards in their order."""
    return tab.locator("#grid .text").all_text_contents()


def status(tab: Any) -> str:
    return tab.locator("#status").text_content()


def wait_until(tab: Any, expression: str, arg: object = None) -> None:
    """Wait until a script's expression, or the promise that it returns, is true.

    Playwright's `wait_for_function` evaluates strings inside the page, which the page's content
    security policy forbids unless the first look succeeds; `evaluate` is exempt.
    """
    for _ in range(6000):
        if tab.evaluate(expression, arg):
            return
        tab.wait_for_timeout(20)
    raise AssertionError(f"never true: {expression}, {arg!r}")


def until(tab: Any, expected: str) -> None:
    """Wait for the status line."""
    wait_until(tab, "text => document.getElementById('status').textContent === text", expected)
