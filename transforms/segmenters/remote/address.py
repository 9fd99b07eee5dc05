"""The address of a segmenter's server, given in place of a segmenter's name."""

from __future__ import annotations

from urllib.parse import urlsplit

_EXAMPLE = "http://127.0.0.1:8100"


def is_address(name: str) -> bool:
    """Return whether a `--segmenter` value is a web address.

    >>> is_address("http://127.0.0.1:8100"), is_address("my_tool:MySegmenter")
    (True, False)
    """
    return name.lower().startswith(("http://", "https://"))


def address_problem(name: str) -> str | None:
    """Return what is wrong with the address of a server, None if it can be asked.

    >>> address_problem("http://127.0.0.1:8100") is None
    True
    """
    try:
        parts = urlsplit(name)
        _ = parts.port
        has_host = bool(parts.hostname)
    except ValueError:
        has_host = False
        parts = None
    if parts is not None and (parts.username is not None or parts.password is not None):
        return (
            "--segmenter: the address of a server must not hold a user name; give the token in "
            "the environment"
        )
    if parts is None or not has_host or parts.query or parts.fragment:
        return f"--segmenter {name!r}: expected the address of a server such as {_EXAMPLE}"
    return None
