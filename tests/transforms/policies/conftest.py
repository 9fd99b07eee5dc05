from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoint_cases import FAMILIES
from tiny_models import make_tiny_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each family. Must not be changed."""
    folder = tmp_path_factory.mktemp("models")
    return {family: Path(make_tiny_model(family, folder / family)) for family in FAMILIES}


@pytest.fixture
def copied(models: dict[str, Path], tmp_path: Path) -> Path:
    """A Qwen2-VL that a test may damage."""
    return Path(shutil.copytree(models["qwen2_vl"], tmp_path / "copied"))


@pytest.fixture
def seen_inputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the models of the test are given, a dictionary of tensors per batch."""
    from transformers import GenerationMixin

    seen: list[dict[str, Any]] = []
    generate = GenerationMixin.generate

    def spy(self: Any, **inputs: Any) -> Any:
        seen.append(inputs)
        return generate(self, **inputs)

    monkeypatch.setattr(GenerationMixin, "generate", spy)
    return seen
