"""Check that a training's packages are installed and LLaMA-Factory accepts its settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from hlmat.pipelines.training.process import INSTALL_TRAIN, check_settings
from hlmat.transforms.core.suggestions import did_you_mean


def missing_packages(settings: Mapping[str, Any]) -> list[str]:
    """Return a problem for each missing package that the training needs.

    Args:
        settings: LLaMA-Factory's.
    """
    needed = {
        "llamafactory": (True, "it trains the model", f"run {INSTALL_TRAIN}"),
        "deepspeed": (
            bool(settings.get("deepspeed")),
            "the setting deepspeed needs it",
            "pip install deepspeed, or train without it: --set deepspeed=null",
        ),
        "bitsandbytes": (
            settings.get("quantization_bit") is not None,
            "the setting quantization_bit needs it",
            "pip install bitsandbytes, or train without it: --set quantization_bit=null",
        ),
    }
    return [
        f"the package {name} is not installed; {why}; {cure}"
        for name, (is_needed, why, cure) in needed.items()
        if is_needed and importlib.util.find_spec(name) is None
    ]


def settings_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return a problem for each setting that the installed LLaMA-Factory would not accept.

    These are unknown names, and values whose type differs from its declarations.

    Args:
        settings: LLaMA-Factory's.

    Raises:
        IncompleteError: LLaMA-Factory cannot be imported.
    """
    known, problems = check_settings(settings)
    unknown = [
        f"setting {name} is unknown to LLaMA-Factory; {did_you_mean(name, known)}see the recipe's "
        "train.yaml and --set"
        for name in settings
        if name not in known
    ]
    values = [
        f"setting {name}: {settings[name]!r:.80}: {problem}; see the recipe's train.yaml and --set"
        for name, problem in problems.items()
    ]
    return [*unknown, *values]
