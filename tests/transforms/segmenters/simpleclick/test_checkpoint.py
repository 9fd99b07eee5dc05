"""SimpleClick's files: loaded strictly, without running anything in them."""

from __future__ import annotations

import os
import pickle
import re
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.simpleclick.architecture import ARCHITECTURES
from simpleclick_models import (
    SMALL,
    config_of,
    entry_of,
    golden_file,
    random_network,
    saved,
)

torch = pytest.importorskip("torch")

from hlmat.transforms.segmenters.simpleclick.checkpoint import load_networks  # noqa: E402

LOSS_MODULE = "isegm.model.modeling.transformer_helper.cross_entropy_loss"


NOT_READ = (
    "x.pth cannot be read as a checkpoint of plain tensors: {}; expected an official SimpleClick "
    "file such as cocolvis_vit_large.pth"
)


def refused(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_networks(data, name="x.pth")
    return str(caught.value)


def assert_damaged(data: bytes) -> None:
    """Assert that a file is refused as damaged, with torch's reason but not its advice."""
    message = refused(data)
    damaged = r"it is cut short, damaged or another kind of file \([A-Za-z]+: [^.()\x1b]*\)"
    expected = re.escape(NOT_READ).replace(re.escape("{}"), damaged)
    assert re.fullmatch(expected, message), message


@pytest.fixture(scope="module")
def network() -> Any:
    return random_network()


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A training loss under the authors' names, importable only while a file is written."""
    module = types.ModuleType(LOSS_MODULE)

    def cross_entropy() -> None:
        raise AssertionError("the checkpoint's loss was called")

    class CrossEntropyLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_criterion = cross_entropy

    for thing in (cross_entropy, CrossEntropyLoss):
        thing.__module__, thing.__qualname__ = LOSS_MODULE, thing.__name__
        setattr(module, thing.__name__, thing)
    parts = LOSS_MODULE.split(".")
    for end in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(parts[end - 1]))
    monkeypatch.setitem(sys.modules, LOSS_MODULE, module)
    yield CrossEntropyLoss()
    monkeypatch.undo()


def assert_same_weights(loaded: Any, network: Any) -> None:
    expected = network.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("architecture", [SMALL, ARCHITECTURES["vit_xtiny"]])
def test_a_file_of_the_official_structure_loads(architecture: Any, loss: Any):
    network = random_network(architecture)
    data = saved(entry_of(network, head_params__loss_decode=loss))
    assert LOSS_MODULE.encode() in data
    for name in [name for name in sys.modules if name.split(".")[0] == "isegm"]:
        del sys.modules[name]
    (loaded,) = load_networks(data, name="x.pth")
    assert_same_weights(loaded, network)
    assert loaded.architecture == architecture
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not any(name.split(".")[0] == "isegm" for name in sys.modules)


def test_the_stand_ins_are_withdrawn(network: Any):
    before = set(torch.serialization.get_safe_globals())
    load_networks(saved(entry_of(network)), name="x.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_list_holds_one_network_per_click(network: Any):
    other = random_network(seed=5)
    loaded = load_networks(saved([entry_of(network), entry_of(other)]), name="x.pth")
    assert len(loaded) == 2
    assert_same_weights(loaded[0], network)
    assert_same_weights(loaded[1], other)


def test_half_precision_is_widened(network: Any):
    entry = entry_of(network)
    entry["state_dict"] = {k: t.to(torch.float16) for k, t in entry["state_dict"].items()}
    (loaded,) = load_networks(saved(entry), name="x.pth")
    name = "head.conv_seg.weight"
    widened = entry["state_dict"][name].to(torch.float32)
    assert torch.equal(loaded.state_dict()[name], widened)


def test_the_small_official_sample_is_read_and_found_incomplete():
    data = golden_file("tiny_checkpoint.pth").read_bytes()
    assert refused(data) == (
        "x.pth: its config says 12 blocks, its tensors are of 0; the file is incomplete or mixes "
        "two checkpoints"
    )


class WriteFile:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "executed"))


class Shell:
    """Unpickling this would run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.path}'",))


@pytest.mark.parametrize(
    ("poison", "named"), [(WriteFile, "getattr"), (Shell, "posix.system")], ids=["write", "shell"]
)
@pytest.mark.parametrize("place", ["raw pickle", "alone", "config", "state", "loss", "list"])
def test_code_in_a_file_is_not_run(
    tmp_path: Path, network: Any, poison: Any, named: str, place: str
):
    victim = tmp_path / "victim"
    evil = poison(victim)
    entry = entry_of(network)
    if place == "raw pickle":
        data = pickle.dumps(evil, protocol=2)
    elif place == "alone":
        data = saved(evil)
    elif place == "list":
        data = saved([entry, evil])
    else:
        if place == "config":
            entry["config"]["params"]["use_disks"]["value"] = evil
        elif place == "state":
            entry["state_dict"]["head.conv_seg.bias"] = evil
        else:
            entry["config"]["params"]["head_params"]["value"]["loss_decode"] = evil
        data = saved(entry)
    assert refused(data) == NOT_READ.format(
        f"it holds code or objects ({named}), and none of that is run"
    )
    assert not victim.exists()


def test_the_poison_would_work(tmp_path: Path):
    """So that the test above can fail."""
    for number, poison in enumerate((WriteFile, Shell)):
        pickle.loads(pickle.dumps(poison(tmp_path / f"{number}"), protocol=2))
        assert (tmp_path / f"{number}").exists()


def test_a_class_that_the_config_names_is_not_imported(
    tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch
):
    victim = tmp_path / "victim"
    (tmp_path / "evil_model.py").write_text(f"open({str(victim)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = entry_of(network)
    entry["config"]["class"] = "evil_model.PlainVitModel"
    entry["config"]["params"]["head_params"]["type"] = "class"
    load_networks(saved(entry), name="x.pth")
    assert "evil_model" not in sys.modules
    assert not victim.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_reported(network: Any, share: float):
    data = saved(entry_of(network))
    assert_damaged(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"hello", b"\x80\x02.", b"<html></html>" * 50, b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_reported(data: bytes):
    assert_damaged(data)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (3, "a int"),
        ([[]], "a list"),
        ({"image_encoder.pos_embed": torch.zeros(1)}, "image_encoder.pos_embed"),
        ({str(i): i for i in range(9)}, "0, 1, 2, 3 and 5 more"),
        ({"state_dict": {}}, "state_dict"),
        ({"state_dict": [], "config": {}}, "state_dict, config"),
    ],
)
def test_checkpoints_of_other_tools_are_reported(content: Any, seen: str):
    assert refused(saved(content)) == (
        "x.pth is not a SimpleClick checkpoint: expected the entries 'state_dict' and 'config', "
        f"got {seen}; weights of another tool need that tool's --segmenter"
    )


def test_an_empty_list_is_reported():
    assert refused(saved([])) == "x.pth is an empty list; expected one SimpleClick model or more"


def test_another_architecture_is_reported(network: Any):
    entry = entry_of(network)
    entry["config"]["class"] = "isegm.model.is_hrnet_model.HRNetModel"
    assert refused(saved(entry)) == (
        "x.pth is a checkpoint of the class 'isegm.model.is_hrnet_model.HRNetModel'; expected "
        "SimpleClick's plain vision transformer, 'PlainVitModel'"
    )


def test_tensors_that_do_not_fit_are_listed(network: Any):
    entry = entry_of(network)
    state = entry["state_dict"]
    del state["backbone.fc_norm.weight"]
    state["extra"] = torch.zeros(1)
    state["head.conv_seg.bias"] = torch.zeros(2)
    assert refused(saved(entry)) == (
        "x.pth: its tensors do not fit its config; missing: backbone.fc_norm.weight; not part of "
        "this network: extra; of another shape: head.conv_seg.bias (2,) instead of (1,); use an "
        "unchanged official file"
    )


def test_a_config_of_another_size_is_reported(network: Any):
    entry = {"state_dict": network.state_dict(), "config": config_of(ARCHITECTURES["vit_large"])}
    assert refused(saved(entry)) == (
        "x.pth: its config says 24 blocks, its tensors are of 4; the file is incomplete or mixes "
        "two checkpoints"
    )
    entry["config"] = config_of(SMALL, backbone_params__embed_dim=64, neck_params__in_dim=64)
    assert refused(saved(entry)) == (
        "x.pth: its tensors do not fit its config; of another shape: "
        "patch_embed_coords.proj.weight (32, 3, 16, 16) instead of (64, 3, 16, 16), "
        "patch_embed_coords.proj.bias (32,) instead of (64,), "
        "backbone.cls_token (1, 1, 32) instead of (1, 1, 64), "
        "backbone.pos_embed (1, 785, 32) instead of (1, 785, 64) and 73 more; use an unchanged "
        "official file"
    )


@pytest.mark.parametrize(
    "value",
    [
        3,
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(1).to_sparse(),
        torch.zeros(1, device="meta"),
    ],
)
def test_what_is_no_dense_tensor_of_floats_is_reported(network: Any, value: Any):
    entry = entry_of(network)
    entry["state_dict"]["head.conv_seg.bias"] = value
    assert refused(saved(entry)) == (
        "x.pth: 'head.conv_seg.bias' is not a dense tensor of floats; the file is damaged"
    )


def test_the_stand_in_for_the_loss_keeps_and_does_nothing(network: Any, loss: Any, tmp_path: Path):
    """A file may fill the stand-in with what it likes and call the function with anything."""
    function = sys.modules[LOSS_MODULE].cross_entropy  # type: ignore[attr-defined]

    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            return (function, ("touch", str(tmp_path / "victim")))

    loss.anything = OrderedDict(__class__="os.system", __setstate__=[1, 2])
    entry = entry_of(network, head_params__loss_decode=[loss, Call()])
    (loaded,) = load_networks(saved(entry), name="x.pth")
    assert_same_weights(loaded, network)
    assert list(tmp_path.iterdir()) == []
