"""Reads recipes of `hlmat rl` into TRL's `GRPOConfig`, and prints settings of each, as JSON.

Arguments: names of recipes. Runs in the environment with TRL, which has this project, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hlmat.pipelines.recipes.recipe import with_recipe_flags
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.rl_options import rl_config
from hlmat.transforms.reinforcement.trainer import trl_config


def settings(recipe: str) -> dict[str, Any]:
    """Return what TRL makes of a recipe."""
    argv = with_recipe_flags(["rl", f"--recipe={recipe}", "--data-root=."])[1:]
    config = rl_config(parse_command("rl", argv))
    made = trl_config(
        config.grpo,
        output_dir=Path("out"),
        max_new_tokens=config.answers.max_new_tokens,
        seed=config.seed,
        use_cpu=True,
    )
    return {
        "rollouts": made.generation_batch_size,
        "group": made.num_generations,
        "steps": made.max_steps,
        "learning_rate": made.learning_rate,
        "beta": made.beta,
        "bf16": made.bf16,
    }


sys.stdout.write(json.dumps({name: settings(name) for name in sys.argv[1:]}) + "\n")
