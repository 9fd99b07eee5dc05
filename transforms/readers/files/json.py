"""JSON files of data sets, with errors that name the file and what was expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.garbage import no_cycle_search
from hlmat.transforms.core.storage import Storage


def read_json(storage: Storage, path: str) -> Any:
    """Read a JSON file.

    Raises:
        LayoutError: it does not exist.
        DataError: it cannot be read or is not JSON.
    """
    try:
        content = storage.read_bytes(path)
        with no_cycle_search():
            return json.loads(content)
    except FileNotFoundError as error:
        raise LayoutError(f"{path} does not exist; check --data-root and --split") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}; download it again") from error


def need_list(content: Any, key: str, *, path: str) -> list[Any]:
    """Return a list that a JSON object must contain.

    Raises:
        DataError: it does not.
    """
    value = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(value, list):
        raise DataError(
            f"{path}: expected a list under {key!r}, found {type(value).__name__}; is this the "
            "right file?"
        )
    return value
