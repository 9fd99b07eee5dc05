"""Devices by name."""

from __future__ import annotations

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.torch_support.device import (
    computes_bfloat16,
    describe_arithmetic,
    resolve_device,
)

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


def pretend(
    monkeypatch: pytest.MonkeyPatch, *, machine: str, onednn: bool, avx512: bool, amx: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(
        torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize(
    ("machine", "onednn", "avx512", "amx", "expected"),
    [
        ("x86_64", True, True, False, "bfloat16, which this processor computes with AVX-512"),
        ("x86_64", True, True, True, "bfloat16, which this processor computes with AMX"),
        # AVX-512 without instructions for bfloat16
        ("x86_64", True, False, False, "float32, because this processor only emulates bfloat16"),
        ("AMD64", False, False, False, "float32, because this processor only emulates bfloat16"),
        ("aarch64", True, False, False, "bfloat16, which this processor computes"),
        ("aarch64", False, False, False, "float32, because this processor only emulates bfloat16"),
    ],
)
def test_a_processor_trains_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    expected: str,
    *,
    onednn: bool,
    avx512: bool,
    amx: bool,
):
    pretend(monkeypatch, machine=machine, onednn=onednn, avx512=avx512, amx=amx)
    assert computes_bfloat16("cpu") is expected.startswith("bfloat16")
    assert describe_arithmetic("cpu") == expected


@pytest.mark.parametrize(
    ("is_native", "expected"),
    [
        (True, "bfloat16, which this GPU computes"),
        (False, "float32, because this GPU only emulates bfloat16"),
    ],
)
def test_a_gpu_says_the_same_of_itself(
    monkeypatch: pytest.MonkeyPatch, expected: str, *, is_native: bool
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_native)
    assert describe_arithmetic("cuda") == expected
