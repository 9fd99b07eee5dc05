"""What LLaMA-Factory's process decides and says before it trains."""

from __future__ import annotations

from typing import Any

import pytest

from hlmat.pipelines.training import llamafactory_main
from hlmat.pipelines.training.llamafactory_main import choose_arithmetic


@pytest.mark.parametrize(
    ("settings", "is_native", "expected", "said"),
    [
        ({"bf16": True}, True, {"bf16": True}, "training in WORDS\n"),
        ({"bf16": True}, False, {"bf16": False}, "training in WORDS\n"),
        ({}, True, {}, "training in float32 (no bf16: true in the settings)\n"),
        ({"fp16": True}, True, {"fp16": True}, ""),
    ],
)
def test_bf16_is_turned_off_where_it_is_only_emulated(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    expected: dict[str, Any],
    said: str,
    *,
    is_native: bool,
) -> None:
    monkeypatch.setattr(llamafactory_main, "computes_bfloat16", lambda device: is_native)
    monkeypatch.setattr(llamafactory_main, "describe_arithmetic", lambda device: "WORDS")
    choose_arithmetic(settings)
    assert settings == expected
    assert capsys.readouterr().out == said
