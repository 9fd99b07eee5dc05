"""Jobs that train: LLaMA-Factory by a recipe, StaR+ rounds, the tiny model."""
