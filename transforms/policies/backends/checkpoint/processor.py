"""The processor of a checkpoint: turns images and text into tensors by its chat template."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.dialogues.tool_calls import system_with_functions
from hlmat.transforms.torch_support.transformers import first_line

_PROBE = "Where is it?"
_TOOLS = re.compile(r"\btools\b")


def load_processor(folder: Path) -> Any:
    """Load the processor of a checkpoint's folder.

    Raises:
        ConfigError: it cannot be loaded, or does not process both images and text.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # a malformed file can make the library raise anything
        raise ConfigError(
            [
                f"the processor in {folder} cannot be loaded: {first_line(error)}; the folder "
                "needs the tokenizer's and the processor's files next to the weights"
            ]
        ) from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ConfigError(
            [
                f"{folder} has a {type(processor).__name__}, not a processor for images and text; "
                "copy the model's preprocessor_config.json and tokenizer files there"
            ]
        )
    return processor


def find_chat_template(processor: Any, *, folder: Path) -> str:
    """Return the chat template after checking that it renders one image and one text.

    Raises:
        ConfigError: no template, or one that fails the check.
    """
    template = processor.chat_template or processor.tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise ConfigError(
            [
                f"{folder} has no chat template; copy chat_template.jinja (or chat_template.json) "
                "of the model's instruction-tuned release there"
            ]
        )
    parts = [{"type": "image"}, {"type": "text", "text": _PROBE}]
    try:
        rendered = render_question(processor, template, parts)
    except Exception as error:  # a template is third-party code and can raise anything
        raise ConfigError(
            [f"the chat template in {folder} cannot be rendered: {first_line(error)}"]
        ) from error
    image_token = getattr(processor, "image_token", None)
    images = 1 if image_token is None else rendered.count(image_token)
    if images != 1 or rendered.count(_PROBE) != 1:
        raise ConfigError(
            [
                f"the chat template in {folder} does not put one image and one text into the "
                f"prompt, but gives {rendered!r}; it may belong to a text-only model"
            ]
        )
    return template


def render_question(
    processor: Any,
    chat_template: str,
    parts: list[dict[str, str]],
    *,
    system: str = "",
    functions: str = "",
) -> str:
    """Return the prompt of one user message, up to the start of the answer.

    The template declares functions if it supports `tools`, as Qwen's do; otherwise they are text in
    the system message.

    Args:
        processor: of transformers.
        chat_template: a Jinja template.
        parts: the message's content: texts and images, in order.
        system: the system message; "" for none.
        functions: a JSON list; "" for none.
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
    declared: dict[str, Any] = {}
    if functions and _TOOLS.search(chat_template):
        declared = {"tools": json.loads(functions)}
    elif functions:
        system = system_with_functions(system, functions)
    if system:
        content = [{"type": "text", "text": system}]
        messages.insert(0, {"role": "system", "content": content})
    return processor.apply_chat_template(
        messages,
        chat_template=chat_template,
        add_generation_prompt=True,
        tokenize=False,
        **declared,
    )


def resized_by(processor: Any, size_hw: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (height, width) to which a processor resizes an image.

    None for a processor that does not report a grid of patches as the Qwen-VL families' does.

    Args:
        processor: of transformers.
        size_hw: of the image, in pixels.
    """
    from PIL import Image

    blank = Image.new("RGB", (size_hw[1], size_hw[0]))
    inputs = processor.image_processor(images=[blank], return_tensors="pt")
    grid = inputs.get("image_grid_thw")
    patch = getattr(processor.image_processor, "patch_size", None)
    if grid is None or not isinstance(patch, int):
        return None
    _, rows, columns = (int(n) for n in grid[0])
    return rows * patch, columns * patch
