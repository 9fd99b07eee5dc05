"""Reading a checkpoint's config: the official ones are known, others are refused with reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.segmenters.simpleclick.architecture import ARCHITECTURES, read_architecture
from simpleclick_models import SMALL, config_of, golden_json


def unmarked(value: Any) -> Any:
    """Undo the marks with which JSON says what it has no words for."""
    if isinstance(value, list):
        return [unmarked(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "__tuple__" in value:
        return tuple(unmarked(value["__tuple__"]))
    if "__object__" in value:
        return object()
    return {key: unmarked(v) for key, v in value.items()}


@pytest.mark.parametrize("size", ["xtiny", "base", "large", "huge"])
def test_official_configs_are_recognised(size: str):
    config = unmarked(golden_json("config.json")["configs"][f"{size}448"])
    architecture = read_architecture(config, name="x.pth")
    assert architecture == ARCHITECTURES[f"vit_{size}"]
    assert architecture.name == f"vit_{size}"


@pytest.mark.parametrize(
    ("size", "window_side", "global_blocks"),
    [
        ("vit_base", 14, [6, 12]),
        ("vit_large", 14, [6, 12, 18, 24]),
        ("vit_huge", 16, [8, 16, 24, 32]),  # patches of 14 pixels
        ("vit_xtiny", 14, [2, 4, 6, 8]),
    ],
)
def test_windows_are_224_pixels_and_some_blocks_see_everything(
    size: str, window_side: int, global_blocks: list[int]
):
    architecture = ARCHITECTURES[size]
    assert architecture.window_side == window_side
    assert architecture.grid_side == 2 * window_side
    numbers = range(1, architecture.depth + 1)
    assert [n for n in numbers if n % architecture.global_every == 0] == global_blocks


def test_a_size_of_nobodys_is_custom():
    assert read_architecture(config_of(), name="x.pth") == SMALL
    assert SMALL.name == "custom"


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone_params__img_size": [448, 448], "backbone_params__patch_size": [16, 16]},
        {"use_leaky_relu": True},
        {"head_params__loss_decode": object()},
        {"backbone_params__mlp_ratio": 4.0},
        {"norm_mean_std": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])},
    ],
)
def test_variations_of_official_files_are_taken(changes: dict[str, Any]):
    assert read_architecture(config_of(**changes), name="x.pth") == SMALL


def test_parameters_that_nobody_set_do_not_matter():
    config = config_of()
    for name in ("norm_radius", "random_split"):
        del config["params"][name]
    config["params"]["of_later_code"] = {"value": 3, "specified": False}
    assert read_architecture(config, name="x.pth") == SMALL


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"with_prev_mask": False}, "with_prev_mask is False, this implementation has True"),
        ({"use_disks": False}, "use_disks is False"),
        ({"norm_radius": 3}, "norm_radius is 3, this implementation has 5"),
        ({"random_split": True}, "random_split is True"),
        ({"use_rgb_conv": True}, "use_rgb_conv is True"),
        ({"norm_mean_std": ([0, 0, 0], [1, 1, 1])}, "norm_mean_std is "),
        ({"backbone_params__img_size": (1024, 1024)}, r"img_size is \[1024, 1024\]"),
        ({"backbone_params__qkv_bias": False}, "qkv_bias is False"),
        ({"backbone_params__global_atten_freq": 3}, "'backbone_params.global_atten_freq' is a"),
        ({"backbone_params__depth": "12"}, "depth is '12', expected an integer in"),
        ({"backbone_params__depth": True}, "depth is True, expected an integer in"),
        ({"backbone_params__depth": 6}, r"6 blocks are not 4, 8, \.\.\. 256"),
        ({"backbone_params__depth": 4096}, "4096 blocks are not"),
        ({"backbone_params__embed_dim": 10**12}, "embed_dim is 1000000000000, expected an int"),
        ({"backbone_params__num_heads": 3}, "3 heads do not share 32 channels evenly"),
        ({"backbone_params__num_heads": 0}, "num_heads is 0, expected an integer in"),
        ({"backbone_params__patch_size": (16, 14)}, "16 x 14 pixels are not squares"),
        ({"backbone_params__patch_size": (20, 20)}, "patches of 20 x 20 pixels are not squares"),
        ({"backbone_params__patch_size": 16}, "patch_size is 16, expected 2 integers"),
        ({"neck_params__out_dims": [8, 16, 16]}, "out_dims is .*expected 4 integers"),
        ({"neck_params__in_dim": 64}, "in_dim is not backbone_params.embed_dim"),
        ({"head_params__in_channels": [8, 16, 16, 16]}, "in_channels is not neck_params.out_dims"),
        ({"head_params__upsample": "x4"}, "upsample is 'x4', this implementation has 'x1'"),
        ({"head_params__channels": None}, "channels is None, expected an integer"),
    ],
)
def test_settings_that_would_change_the_answer_are_refused(changes: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason) as caught:
        read_architecture(config_of(**changes), name="x.pth")
    assert str(caught.value).startswith("x.pth: its config does not fit: ")


def test_all_problems_are_reported_at_once():
    config = config_of(use_disks=False, head_params__upsample="x2", neck_params__out_dims=None)
    with pytest.raises(ConfigError) as caught:
        read_architecture(config, name="x.pth")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("params", [None, [], {}, {"backbone_params": 3}])
def test_a_config_without_sizes_is_refused(params: Any):
    config = {"class": "isegm.model.is_plainvit_model.PlainVitModel", "params": params}
    with pytest.raises(ConfigError, match=r"backbone_params\.embed_dim is missing"):
        read_architecture(config, name="x.pth")


@pytest.mark.parametrize("model_class", ["isegm.model.is_hrnet_model.HRNetModel", None, 7])
def test_another_model_class_is_named(model_class: Any):
    config = {**config_of(), "class": model_class}
    with pytest.raises(ConfigError, match=f"of the class '{model_class}'; expected SimpleClick's"):
        read_architecture(config, name="x.pth")


def test_sizes_differ_in_more_than_their_names():
    assert len({replace(a) for a in ARCHITECTURES.values()}) == len(ARCHITECTURES)
