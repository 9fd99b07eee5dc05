"""The license that people declare for their own data: one of the Hub's names, or their terms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.readers.open_licenses import OPEN_LICENSES

MOST_BYTES = 1 << 20
OWN_TERMS_TITLE = "the publisher's terms, see LICENSE.md"


@dataclass(frozen=True)
class DeclaredLicense:
    """A license for data that is one's own.

    Attributes:
        hub_id: the Hub's name of it; `other` for own terms.
        title: what rows and tables say.
        url: of the license's text; None for own terms.
        terms: the text of own terms; "" for others.
    """

    hub_id: str
    title: str
    url: str | None = None
    terms: str = ""

    def identity(self) -> str:
        """Return what tells licenses apart: the Hub's name, or a digest of own terms."""
        return hashlib.sha256(self.terms.encode()).hexdigest() if self.terms else self.hub_id


def read_declared_license(declared: str) -> DeclaredLicense:
    """Return the license that a flag declares.

    Args:
        declared: a license by the Hub's name, or the path of a text file with own terms.

    Raises:
        ConfigError: neither; or the file is empty, no text, or larger than 1 MiB.
    """
    known = OPEN_LICENSES.get(declared.lower())
    if known is not None:
        return DeclaredLicense(declared.lower(), known.title, known.url)
    storage = storage_for(declared)
    if not storage.is_file(declared):
        raise ConfigError(
            [
                f"--license {declared}: {did_you_mean(declared, OPEN_LICENSES)}expected a text "
                f"file with your own terms, or one of {', '.join(OPEN_LICENSES)}"
            ]
        )
    try:
        data = storage.read_bytes(declared)
        terms = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(
            [f"--license {declared}: not a text in UTF-8 ({error}); save it as UTF-8"]
        ) from error
    except OSError as error:
        raise ConfigError([f"--license {declared}: cannot be read: {error}"]) from error
    if not terms or len(data) > MOST_BYTES or "\0" in terms:
        raise ConfigError(
            [
                f"--license {declared}: {len(data)} bytes; expected a text with your terms, of at "
                f"most {MOST_BYTES} bytes"
            ]
        )
    return DeclaredLicense("other", OWN_TERMS_TITLE, terms=terms)
