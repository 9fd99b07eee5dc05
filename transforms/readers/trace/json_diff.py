"""What must change in one JSON value to make it another, itself as JSON."""

from __future__ import annotations

from typing import Any


def difference(made: Any, wanted: Any) -> dict[str, Any]:
    """Return the changes that turn `made` into `wanted`; an empty object if they are equal.

    Numbers of different types (1, 1.0, true) count as different.

    >>> difference({"a": 1, "b": [2, 3]}, {"b": [2, 4], "c": 5})
    {'keys': {'b': {'items': {'1': {'value': 4}}}, 'c': {'value': 5}}, 'without': ['a']}
    """
    if isinstance(made, dict) and isinstance(wanted, dict):
        keys = {
            key: {"value": value} if key not in made else difference(made[key], value)
            for key, value in wanted.items()
        }
        changes: dict[str, Any] = {}
        if changed := {key: change for key, change in keys.items() if change}:
            changes["keys"] = changed
        if gone := sorted(key for key in made if key not in wanted):
            changes["without"] = gone
        return changes
    if isinstance(made, list) and isinstance(wanted, list) and len(made) == len(wanted):
        items = {
            str(index): change
            for index, pair in enumerate(zip(made, wanted, strict=True))
            if (change := difference(*pair))
        }
        return {"items": items} if items else {}
    if type(made) is type(wanted) and made == wanted:
        return {}
    return {"value": wanted}


def apply_difference(made: Any, change: dict[str, Any]) -> Any:
    """Return what `difference(made, ...)` was taken to; `made` stays as it is.

    Raises:
        KeyError, IndexError, TypeError, ValueError: the change does not belong to `made`.
    """
    if "value" in change:
        return change["value"]
    if "items" in change:
        result = list(made)
        for index, item in change["items"].items():
            result[int(index)] = apply_difference(made[int(index)], item)
        return result
    if not change:
        return made
    kept = {key: value for key, value in made.items() if key not in change.get("without", ())}
    for key, item in change.get("keys", {}).items():
        kept[key] = apply_difference(made.get(key), item)
    return kept
