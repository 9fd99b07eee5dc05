"""Writes calls of functions as LLaMA-Factory's templates do and prints them as JSON.

A process of its own, as `load_with_llama_factory.py`. Reads a JSON object, {"formats", "contents"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hlmat.pipelines.training.llamafactory_main import make_importable


def main(asked: str) -> None:
    make_importable()

    from llamafactory.data.formatter import FunctionFormatter

    content = json.loads(asked)
    written = {}
    for name in content["formats"]:
        formatter: Any = FunctionFormatter(slots=["{{content}}"], tool_format=name)
        written[name] = ["".join(formatter.apply(content=text)) for text in content["contents"]]
    sys.stdout.write("\n" + json.dumps(written))


if __name__ == "__main__":
    main(*sys.argv[1:])
