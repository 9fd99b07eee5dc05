"""Load SimpleClick's checkpoint files without running any of their code.

A file is `{"state_dict": tensors, "config": how the model was built}`, or a list of these, one per
click. Besides tensors and plain containers, the official files contain the training loss, an object
of the authors' package; it is replaced with an empty placeholder, and every other name is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.simpleclick.architecture import read_architecture
from hlmat.transforms.segmenters.simpleclick.network import SimpleClickNetwork
from hlmat.transforms.torch_support.checkpoint_file import load_checkpoint, refusal

_LOSS_MODULE = "isegm.model.modeling.transformer_helper.cross_entropy_loss"
_NAMES_SHOWN = 4


class _Loss:
    """Placeholder for the training loss; discards its contents."""

    def __setstate__(self, state: object) -> None:
        pass


def _loss_function(*_: object) -> None:
    """Replace the function that the training loss refers to."""


def load_networks(data: bytes, *, name: str) -> tuple[SimpleClickNetwork, ...]:
    """Build the networks of a checkpoint: one, or one per click.

    Args:
        data: the file's content.
        name: the file's name, for errors.

    Returns:
        float32 on the CPU, for inference.

    Raises:
        ConfigError: not a checkpoint, truncated, contains code, of another model, or has a config
            that does not match its tensors or this implementation.
    """
    content = _unpickled(data, name=name)
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise ConfigError([f"{name} is an empty list; expected one SimpleClick model or more"])
    return tuple(_network(entry, name=name) for entry in entries)


def _unpickled(data: bytes, *, name: str) -> Any:
    stand_ins: list[Any] = [
        (_Loss, f"{_LOSS_MODULE}.CrossEntropyLoss"),
        (_loss_function, f"{_LOSS_MODULE}.cross_entropy"),
    ]
    try:
        return load_checkpoint(data, stand_ins=stand_ins)
    # A broken or hostile file can make the unpickler raise anything; none of its code has run.
    except Exception as error:
        raise ConfigError(
            [
                f"{name} cannot be read as a checkpoint of plain tensors: {refusal(error)}; "
                "expected an official SimpleClick file such as cocolvis_vit_large.pth"
            ]
        ) from error


def _network(entry: Any, *, name: str) -> SimpleClickNetwork:
    state, config = _parts(entry, name=name)
    architecture = read_architecture(config, name=name)
    blocks = {k.split(".")[2] for k in state if k.startswith("backbone.blocks.")}
    if len(blocks) != architecture.depth:
        raise ConfigError(
            [
                f"{name}: its config says {architecture.depth} blocks, its tensors are of "
                f"{len(blocks)}; the file is incomplete or mixes two checkpoints"
            ]
        )
    with torch.device("meta"):
        network = SimpleClickNetwork(architecture)
    _check_tensors(state, expected=network.state_dict(), name=name)
    tensors = {key: tensor.to(torch.float32) for key, tensor in state.items()}
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _parts(entry: Any, *, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    state = entry.get("state_dict") if isinstance(entry, Mapping) else None
    config = entry.get("config") if isinstance(entry, Mapping) else None
    if not isinstance(state, Mapping) or not isinstance(config, Mapping):
        seen = _listed(list(entry)) if isinstance(entry, Mapping) else f"a {type(entry).__name__}"
        raise ConfigError(
            [
                f"{name} is not a SimpleClick checkpoint: expected the entries 'state_dict' and "
                f"'config', got {seen}; weights of another tool need that tool's --segmenter"
            ]
        )
    for key, tensor in state.items():
        if (
            not isinstance(key, str)
            or not isinstance(tensor, Tensor)
            or tensor.layout is not torch.strided
            or tensor.device.type != "cpu"
            or not tensor.is_floating_point()
        ):
            raise ConfigError(
                [f"{name}: {str(key)[:80]!r} is not a dense tensor of floats; the file is damaged"]
            )
    return state, config


def _check_tensors(
    state: Mapping[str, Tensor], *, expected: Mapping[str, Tensor], name: str
) -> None:
    """Raise ConfigError unless both have the same names and shapes."""
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    problems = {
        "missing": [key for key in shapes if key not in state],
        "not part of this network": [key for key in state if key not in shapes],
        "of another shape": [
            f"{key} {tuple(tensor.shape)} instead of {shapes[key]}"
            for key, tensor in state.items()
            if key in shapes and tuple(tensor.shape) != shapes[key]
        ],
    }
    if found := "; ".join(f"{what}: {_listed(keys)}" for what, keys in problems.items() if keys):
        raise ConfigError(
            [f"{name}: its tensors do not fit its config; {found}; use an unchanged official file"]
        )


def _listed(keys: Sequence[object]) -> str:
    shown = ", ".join(str(key)[:80] for key in keys[:_NAMES_SHOWN])
    return shown + (f" and {len(keys) - _NAMES_SHOWN} more" if len(keys) > _NAMES_SHOWN else "")
