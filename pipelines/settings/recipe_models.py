"""The recipes that ship with the project, and how to get the models that they train."""

from __future__ import annotations

import os
from pathlib import Path

from hlmat.pipelines.settings.values import Values

RECIPES = Path(__file__).parents[2] / "train_recipes"
RL_FILE = "rl.yaml"
"""Instead of `train.yaml`, in a recipe of `hlmat rl`."""


def scoring_recipe(values: Values) -> str:
    """Return which recipe comes with a model that scores masks, where one is asked for."""
    return ", for example mini_refine" if values.get("score") else ""


def untrained_model(values: Values) -> str | None:
    """Return how to get the model of a recipe that has not been trained here; None if it is."""
    model, recipe = str(values.get("model")), values.get("recipe")
    if recipe is None or os.path.exists(model) or model != f"out/{os.path.basename(recipe)}/model":
        return None
    return (
        f"{model}, the model of the recipe {recipe}, is not there: train it first with `hlmat "
        f"{_trains(recipe)} --recipe {recipe}`, or name a trained model with --model"
    )


def _trains(recipe: str) -> str:
    """Return the command that trains by a recipe."""
    is_rl = any((folder / RL_FILE).is_file() for folder in (RECIPES / recipe, Path(recipe)))
    return "rl" if is_rl else "train"
