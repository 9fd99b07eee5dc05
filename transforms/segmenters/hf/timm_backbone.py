"""EdgeTAM's encoder, which timm builds: the only one that a configuration may ask for.

timm builds a model from a name and arguments in the configuration. Some names and arguments make it
fetch a file or read a pickle, so both are compared with those of EdgeTAM and then replaced by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARCHITECTURES = ("repvit_m1", "repvit_m1.dist_in1k")
"""RepViT-M1 by its name in timm, with or without the name of weights, which are not fetched."""

ARGUMENTS: Mapping[str, Any] = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
"""The arguments of `timm.create_model`: RGB in, the maps of the four stages out."""

_FETCHING = ("checkpoint_path", "pretrained", "use_pretrained_backbone")


def backbone_problems(settings: Mapping[str, Any], *, where: str) -> list[str]:
    """Return a sentence for each way in which a configuration asks for another backbone.

    Args:
        settings: of the model, whose `vision_config.backbone_config` describes the backbone.
        where: the file, for the sentences.
    """
    found = _backbone_config(settings)
    problems = []
    architecture = found.get("architecture", ARCHITECTURES[0])
    if architecture not in ARCHITECTURES:
        problems.append(
            f"vision_config.backbone_config in {where} names the timm model {architecture!r}, "
            f"expected {' or '.join(map(repr, ARCHITECTURES))}; other encoders are not supported"
        )
    arguments = found.get("model_args", dict(ARGUMENTS))
    if arguments != ARGUMENTS:
        problems.append(
            f"vision_config.backbone_config in {where} gives timm the model_args {arguments!r}, "
            f"expected {dict(ARGUMENTS)!r}; others could fetch or run something"
        )
    problems += [
        f"vision_config.backbone_config in {where} has {key} = {found[key]!r}; weights are only "
        f"read from the safetensors of the folder, so remove {key}"
        for key in _FETCHING
        if found.get(key)
    ]
    return problems


def with_timm_backbone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's settings with EdgeTAM's own backbone, also where they name none.

    transformers would look for a missing description on the hub. It also does so whenever it prints
    a configuration, to leave out what is a default, unless the configuration has no defaults.
    """
    vision = settings.get("vision_config")
    vision = dict(vision) if isinstance(vision, Mapping) else {}
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": ARCHITECTURES[0],
        "model_args": dict(ARGUMENTS),
    }
    no_defaults = {"has_no_defaults_at_init": True}
    return {
        **settings,
        **no_defaults,
        "vision_config": {
            "model_type": "edgetam_vision_model",
            **vision,
            **no_defaults,
            "backbone_config": backbone,
        },
    }


def _backbone_config(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    vision = settings.get("vision_config")
    found = vision.get("backbone_config") if isinstance(vision, Mapping) else None
    return found if isinstance(found, Mapping) else {}
