"""Loads data sets with ms-swift and prints what it would train on, as JSON.

Arguments: the folder of a model, of which only the processor is used, and folders of data sets.
Runs in an environment with ms-swift; nothing of this project is imported.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from swift import (  # pyright: ignore[reportMissingImports]
    get_processor,
    get_template,
    load_dataset,
)

FAMILY = "qwen2_5_vl"
FORMS = ("none", "norm1000")
"""How coordinates are written: in pixels of the image, or in thousandths."""


def content(model: str, folder: str) -> dict[str, Any]:
    """Return the rows that ms-swift loads, and by form of coordinates what is trained on."""
    # Folders without a published model's name fit several types.
    processor = get_processor(model, model_type=FAMILY)
    rows, _ = load_dataset([folder], strict=True, load_from_cache_file=False)
    found: dict[str, Any] = {"rows": len(rows), "columns": sorted(rows.column_names)}
    for form in FORMS:
        template = get_template(processor, template_type=FAMILY, norm_bbox=form)
        template.set_mode("train")
        # The family's own vocabulary has it at a fixed place, small ones of tests elsewhere.
        template.image_token_id = template.config.image_token_id
        found[form] = [_encoded(template, row) for row in rows]
    return found


def _encoded(template: Any, row: dict[str, Any]) -> dict[str, Any]:
    encoded = template.encode(row)
    tokens, labels = encoded["input_ids"], encoded["labels"]
    trained = [token for token in labels if token >= 0]
    return {
        "text": template.tokenizer.decode(tokens),
        "trained": template.tokenizer.decode(trained),
        "image_tokens": tokens.count(template.image_token_id),
        "grid": encoded["image_grid_thw"].tolist(),
    }


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps([content(sys.argv[1], f) for f in sys.argv[2:]])}\n")
