"""The sizes of the network in a SimpleClick checkpoint, read from the file's config.

A config is `{"class": ..., "params": {parameter: {"value": ...}}}`. It is untrusted: class names
are compared as text, never imported, and numbers are bounded before anything is built from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import ConfigError

DISK_RADIUS = 5
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MLP_RATIO = 4

_MODEL_CLASS = "PlainVitModel"
_IMAGE_SIDE = 448
# The transformer was pre-trained on images of this side; a window has this size.
_WINDOW_SIDE = 224
_MAX_SIZE, _MAX_DEPTH = 1 << 14, 1 << 8


@dataclass(frozen=True)
class Architecture:
    """The sizes that define a SimpleClick network.

    Attributes:
        patch_side: side of a token's square, in pixels.
        width: length of a token.
        depth: number of blocks.
        heads: attention heads per block.
        neck_widths: channels at 1/4, 1/8, 1/16 and 1/32 of the input's size.
        head_width: channels after the four are joined.
        image_side: side of the input, in pixels.
    """

    patch_side: int
    width: int
    depth: int
    heads: int
    neck_widths: tuple[int, int, int, int]
    head_width: int = 256
    image_side: int = _IMAGE_SIDE

    @property
    def name(self) -> str:
        """The authors' name of the size, or "custom"."""
        return next((name for name, known in ARCHITECTURES.items() if known == self), "custom")

    @property
    def grid_side(self) -> int:
        """Tokens along a side."""
        return self.image_side // self.patch_side

    @property
    def window_side(self) -> int:
        """Tokens along the side of an attention window."""
        return _WINDOW_SIDE // self.patch_side

    @property
    def global_every(self) -> int:
        """Interval of the blocks that attend over all tokens instead of a window."""
        return 6 if self.depth == 12 else self.depth // 4


ARCHITECTURES: Mapping[str, Architecture] = {
    "vit_xtiny": Architecture(16, 160, 8, 4, (96, 192, 288, 384), head_width=128),
    "vit_base": Architecture(16, 768, 12, 12, (128, 256, 512, 1024)),
    "vit_large": Architecture(16, 1024, 24, 16, (192, 384, 768, 1536)),
    "vit_huge": Architecture(14, 1280, 32, 16, (240, 480, 960, 1920)),
}

# Number of integers in each; 0 for a scalar.
_SIZES: Mapping[str, int] = {
    "backbone_params.patch_size": 2,
    "backbone_params.embed_dim": 0,
    "backbone_params.depth": 0,
    "backbone_params.num_heads": 0,
    "neck_params.in_dim": 0,
    "neck_params.out_dims": 4,
    "head_params.in_channels": 4,
    "head_params.channels": 0,
}
_REQUIRED: Mapping[str, Any] = {
    "with_prev_mask": True,
    "use_disks": True,
    "backbone_params.img_size": [_IMAGE_SIDE, _IMAGE_SIDE],
    "backbone_params.qkv_bias": True,
}
# If these are missing, their official defaults equal this network's values.
_OPTIONAL: Mapping[str, Any] = {
    "norm_radius": DISK_RADIUS,
    "random_split": False,
    "with_aux_output": False,
    "cpu_dist_maps": False,
    "use_rgb_conv": False,
    "norm_mean_std": [list(IMAGE_MEAN), list(IMAGE_STD)],
    "backbone_params.in_chans": 3,
    "backbone_params.mlp_ratio": MLP_RATIO,
    "head_params.num_classes": 1,
    "head_params.in_index": [0, 1, 2, 3],
    "head_params.align_corners": False,
    "head_params.upsample": "x1",
}
# These do not affect a prediction.
_IGNORED = {"use_leaky_relu", "head_params.dropout_ratio", "head_params.loss_decode"}


def read_architecture(config: Mapping[str, Any], *, name: str) -> Architecture:
    """Read a network's sizes from a checkpoint's config.

    Args:
        config: as in the module's docstring.
        name: the file's name, for errors.

    Raises:
        ConfigError: another model class, or unsupported settings; all of them at once.
    """
    model_class = str(config.get("class"))[:100]
    if model_class.rpartition(".")[2] != _MODEL_CLASS:
        raise ConfigError(
            [
                f"{name} is a checkpoint of the class {model_class!r}; expected SimpleClick's "
                f"plain vision transformer, {_MODEL_CLASS!r}"
            ]
        )
    settings = _settings(config.get("params"))
    problems = [
        f"{key} is {_shown(settings, key)}, this implementation has {wanted!r}"
        for key, wanted in {**_REQUIRED, **_OPTIONAL}.items()
        if settings.get(key, wanted if key in _OPTIONAL else None) != wanted
    ]
    problems += [
        f"{key} is {_shown(settings, key)}, expected "
        f"{f'{count} integers' if count else 'an integer'} in 1..{_MAX_SIZE}"
        for key, count in _SIZES.items()
        if not _is_size(settings.get(key), count=count)
    ]
    known = {*_SIZES, *_REQUIRED, *_OPTIONAL, *_IGNORED}
    problems += [f"{key!r:.80} is a setting unknown here" for key in sorted(set(settings) - known)]
    problems = problems or _mismatches(settings)
    if problems:
        raise ConfigError([f"{name}: its config does not fit: {problem}" for problem in problems])
    return Architecture(
        patch_side=settings["backbone_params.patch_size"][0],
        width=settings["backbone_params.embed_dim"],
        depth=settings["backbone_params.depth"],
        heads=settings["backbone_params.num_heads"],
        neck_widths=tuple(settings["neck_params.out_dims"]),
        head_width=settings["head_params.channels"],
    )


def _settings(params: Any) -> dict[str, Any]:
    """Return {"parameter" or "parameter.key": plain value}, without unknown defaults."""
    settings: dict[str, Any] = {}
    for parameter, entry in params.items() if isinstance(params, Mapping) else ():
        if not isinstance(entry, Mapping):
            continue
        value = entry.get("value")
        if isinstance(value, Mapping):
            settings.update({f"{parameter}.{key}": _plain(v) for key, v in value.items()})
        elif parameter in {*_REQUIRED, *_OPTIONAL} or entry.get("specified"):
            settings[str(parameter)] = _plain(value)
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else f"an object of type {type(value).__name__}"


def _is_size(value: Any, *, count: int) -> bool:
    numbers = value if count and isinstance(value, list) else [value]
    return len(numbers) == max(1, count) and all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= _MAX_SIZE for n in numbers
    )


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return f"{settings[key]!r:.80}" if key in settings else "missing"


def _mismatches(settings: Mapping[str, Any]) -> list[str]:
    """Return which sizes are inconsistent."""
    patch, patch_width = settings["backbone_params.patch_size"]
    width, heads = (settings[f"backbone_params.{key}"] for key in ("embed_dim", "num_heads"))
    depth = settings["backbone_params.depth"]
    rules = {
        f"patches of {patch} x {patch_width} pixels are not squares that fill a window of "
        f"{_WINDOW_SIDE} pixels": patch == patch_width and _WINDOW_SIDE % patch == 0,
        f"{depth} blocks are not 4, 8, ... {_MAX_DEPTH}": depth % 4 == 0 and depth <= _MAX_DEPTH,
        f"{heads} heads do not share {width} channels evenly": width % heads == 0,
        "neck_params.in_dim is not backbone_params.embed_dim": settings["neck_params.in_dim"]
        == width,
        "head_params.in_channels is not neck_params.out_dims": settings["head_params.in_channels"]
        == settings["neck_params.out_dims"],
    }
    return [problem for problem, holds in rules.items() if not holds]
