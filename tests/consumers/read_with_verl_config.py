"""Reads overrides of verl's configuration with hydra, as `main_ppo` does, and prints them, as JSON.

Arguments: the overrides. Unknown keys are an error. Runs in an environment with verl; nothing of
this project is imported.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir  # pyright: ignore[reportMissingImports]
from omegaconf import OmegaConf  # pyright: ignore[reportMissingImports]

# Found without an import, which would load all of verl.
spec = importlib.util.find_spec("verl")
assert spec is not None
assert spec.origin is not None
folder = Path(spec.origin).parent / "trainer" / "config"
with initialize_config_dir(config_dir=str(folder), version_base=None):
    config = compose("ppo_trainer", overrides=sys.argv[1:])
keys = [override.partition("=")[0] for override in sys.argv[1:]]
found = {key: OmegaConf.select(config, key) for key in keys}
plain = {k: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for k, v in found.items()}
sys.stdout.write(json.dumps(plain) + "\n")
