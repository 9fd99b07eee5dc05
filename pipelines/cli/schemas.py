"""JSON Schemas of a recipe's files, generated from the settings' declarations.

Editors complete and check a recipe with them: `python -m hlmat.pipelines.cli.schemas FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlmat.pipelines.ladder.settings import KEYS, LADDER, SET_NAME, UNTIL
from hlmat.pipelines.recipes.flag_files import FLAG_FILES
from hlmat.pipelines.settings.flags import Flag, flags_in
from hlmat.pipelines.settings.run_flags import DATA
from hlmat.pipelines.settings.training_options import LADDER as LADDER_FLAGS
from hlmat.transforms.core.options import REQUIRED, Declared, shown

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of every recipe file that holds this project's settings, by name."""
    schemas = {
        file.replace(".yaml", ".json"): _file_schema(f"Flags of hlmat {kind.command}", kind.flags())
        for file, kind in FLAG_FILES.items()
    }
    ladder = _file_schema("What hlmat ladder compares", flags_in([KEYS]))
    until = _properties(flags_in(LADDER_FLAGS))[UNTIL]
    ladder["properties"]["sets"] = {
        "description": "sets of held-out targets: flags of hlmat evaluate on the data set, by name",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{SET_NAME.pattern}$"},
        "additionalProperties": {
            "type": ["object", "null"],
            "properties": {**_properties(flags_in([DATA])), UNTIL: until},
            "additionalProperties": False,
        },
    }
    ladder["required"] = ["sets"]
    schemas[LADDER.replace(".yaml", ".json")] = ladder
    return schemas


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in recipe_schemas().items():
        (folder / name).write_text(schema_text(schema), encoding="utf-8")


def _file_schema(title: str, flags: Mapping[str, Flag]) -> dict[str, Any]:
    return {
        "$schema": _DRAFT,
        "title": title,
        # An empty file means all defaults.
        "type": ["object", "null"],
        "properties": _properties(flags),
        "additionalProperties": False,
    }


def _properties(flags: Mapping[str, Flag]) -> dict[str, Any]:
    return {name: _property(flag) for name, flag in flags.items()}


def _property(flag: Flag) -> dict[str, Any]:
    found: dict[str, Any] = {"description": flag.help or flag.declaration.help}
    default = flag.default_value
    if flag.pair is not None:
        found |= {"type": "string", "pattern": flag.pair.pattern}
        if default is not None and REQUIRED not in default:
            found["default"] = flag.pair.join(default)
        return found
    one = _value_schema(flag)
    if flag.is_key and flag.is_repeatable:
        return found | {"type": "array", "items": one}
    if flag.is_repeatable:
        return found | {"anyOf": [one, {"type": "array", "items": one}]}
    if isinstance(default, bool | int | float | str) and default != "":
        found["default"] = default if isinstance(default, bool | int | float) else str(default)
    return found | one


def _value_schema(flag: Flag) -> dict[str, Any]:
    """Return the schema of one YAML value."""
    declaration = flag.declaration
    if flag.is_joined:
        names = "|".join(map(re.escape, declaration.choices))
        return {"type": "string", "pattern": f"^({names})(,({names}))*$"}
    match declaration.kind:
        case "bool":
            return {"type": "boolean"}
        case "int" | "float":
            number = {"type": "integer" if declaration.kind == "int" else "number"}
            number |= _limits(declaration)
            if declaration.is_optional and flag.default_value is not None:
                return {"anyOf": [number, {"const": shown(None)}]}
            return number
        case "choice":
            return {"enum": list(declaration.choices)}
        case "text" if flag.names:
            known = {"enum": list(flag.names)}
            return {"anyOf": [known, {"type": "string"}]} if flag.is_open else known
        case _:
            return {"type": ["string", "number"]}


def _limits(declaration: Declared) -> dict[str, Any]:
    low = "exclusiveMinimum" if declaration.low_open else "minimum"
    high = "exclusiveMaximum" if declaration.high_open else "maximum"
    limits = {low: declaration.low, high: declaration.high}
    return {name: value for name, value in limits.items() if value is not None}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_schemas(parser.parse_args().folder)
