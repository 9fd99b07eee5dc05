"""The parts that all pages share, and the format of their data."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any, Protocol

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
}
"""Media type by the extension of a file's name."""
INDEX_ROWS = 5000
"""Targets in one file of the index."""
_NAMED = re.compile(r'(?:src|href)="(page/[^"]+)"')

Made = tuple[Mapping[str, bytes], int, int]
"""Files by name, the number of images that they show, and the number of missing images."""


class ViewedPage(Protocol):
    """A page: its files by name, the same on a server and in a folder."""

    def read(self, name: str) -> bytes | None:
        """Return a file; None if there is no such file. Raises DataError or TargetError."""
        ...

    def save_flags(self, data: bytes) -> None:
        """Replace the flags of one target.

        Raises:
            ValueError: these are no flags of this page.
            DataError, OutputError: they cannot be stored.
        """
        ...

    def data_names(self) -> Iterator[str]:
        """Yield the names of all data files, without images."""
        ...

    def image_jobs(self) -> Iterator[Callable[[], Made]]:
        """Yield functions that make the files of the images, a few at a time."""
        ...


def page_names() -> tuple[str, ...]:
    """Return the names of the files that all pages share."""
    return ("index.html", *_NAMED.findall(_page_text("index.html")))


def page_file(name: str) -> bytes:
    """Return a file that all pages share."""
    text = _page_text(posixpath.basename(name))
    if name == "index.html":
        text = text.replace("CONTENT_SECURITY_POLICY", CONTENT_SECURITY_POLICY)
    return text.encode()


def data_script(name: str, value: Any) -> bytes:
    """Return a script that passes a value to the page: pages opened from disk cannot load JSON.

    All characters beyond ASCII are escaped, so that no text can end the script.
    """
    text = json.dumps(value, separators=(",", ":"))
    return f'hlmat.receive("{name}",{text});\n'.encode("ascii")


def _page_text(name: str) -> str:
    return (resources.files("hlmat.export.view") / "page" / name).read_text(encoding="utf-8")
