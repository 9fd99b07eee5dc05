"""Licenses that let anyone publish images, as they are and changed, by the Hub's names.

The Hub's list: https://huggingface.co/docs/hub/repositories-licenses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_CC = "https://creativecommons.org"


@dataclass(frozen=True)
class OpenLicense:
    """A license.

    Attributes:
        title: its usual short name.
        url: of its text.
    """

    title: str
    url: str


def _cc(kind: str, *versions: str) -> dict[str, OpenLicense]:
    return {
        f"cc-{kind}-{version}": OpenLicense(
            f"CC {kind.upper()} {version}", f"{_CC}/licenses/{kind}/{version}/"
        )
        for version in versions
    }


OPEN_LICENSES: Mapping[str, OpenLicense] = {
    "cc0-1.0": OpenLicense("CC0 1.0", f"{_CC}/publicdomain/zero/1.0/"),
    **_cc("by", "2.0", "2.5", "3.0", "4.0"),
    **_cc("by-sa", "3.0", "4.0"),
    **_cc("by-nc", "2.0", "3.0", "4.0"),
    **_cc("by-nc-sa", "2.0", "3.0", "4.0"),
    "pddl": OpenLicense("PDDL 1.0", "https://opendatacommons.org/licenses/pddl/1-0/"),
    "odc-by": OpenLicense("ODC-By 1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    "odbl": OpenLicense("ODbL 1.0", "https://opendatacommons.org/licenses/odbl/1-0/"),
    "cdla-permissive-1.0": OpenLicense("CDLA Permissive 1.0", "https://cdla.dev/permissive-1-0/"),
    "cdla-permissive-2.0": OpenLicense("CDLA Permissive 2.0", "https://cdla.dev/permissive-2-0/"),
    "cdla-sharing-1.0": OpenLicense("CDLA Sharing 1.0", "https://cdla.dev/sharing-1-0/"),
    "mit": OpenLicense("MIT", "https://opensource.org/license/mit"),
    "apache-2.0": OpenLicense("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
}
"""Without those that forbid changed images (`nd`): a state is an image with a mask over it."""
