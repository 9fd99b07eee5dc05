"""Devices by name."""

from __future__ import annotations

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.torch_support.device import computes_bfloat16, resolve_device

torch = pytest.importorskip("torch")


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_a_name_of_torch_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)


def test_what_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"'cuda:0' was asked for, .*sees no CUDA device; use"):
        resolve_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"'cuda:2' was asked for, .*sees 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu9", "meta", ""])
def test_what_is_no_device_for_a_tool_is_reported(name: str):
    with pytest.raises(ConfigError, match=rf"'{name}' is not a device; use auto, cpu"):
        resolve_device(name)


@pytest.mark.parametrize("is_supported", [True, False])
def test_a_processor_says_whether_it_computes_bfloat16(
    monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
):
    monkeypatch.setattr(
        torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: is_supported, raising=False
    )
    assert computes_bfloat16("cpu") is is_supported
