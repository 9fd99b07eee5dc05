"""What the policy `human` is built from: a clickability model and a decile of its probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hlmat.transforms.clickability.click_model import (
    ClickModel,
    built_in_click_model,
    parse_click_model,
)
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import storage_for

Decile = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "all"]
ALL_DECILES = "all"


@options
class HumanClickOptions:
    """The flags of the policy `human`."""

    click_model: str | None = setting(
        default=None,
        metavar="FILE",
        in_fingerprint=False,
        help="human: a click model of your own, as hlmat fit-clicks writes it",
    )
    click_decile: Decile | None = setting(
        default=None,
        metavar="K",
        help="human: only clicks of one tenth of the probability, 1 the least likely to 10",
    )


@dataclass(frozen=True)
class HumanClicks:
    """What determines the clicks of the policy `human`, apart from the seed.

    Attributes:
        model: how likely each pixel is.
        decile: the tenth of the probability that clicks are drawn from, 1 the least likely; None
            for all.
    """

    model: ClickModel
    decile: int | None = None

    def identity(self) -> dict[str, Any]:
        """Return what determines the clicks, as plain JSON values."""
        return {"click_model": self.model.identity(), "click_decile": self.decile}


def load_click_model(path: str | None) -> ClickModel:
    """Read a click model from a path or URL; None for the one that comes with the package.

    Raises:
        ConfigError: there is no such file.
        DataError: it is not a click model.
    """
    if path is None:
        return built_in_click_model()
    try:
        data = storage_for(path, is_data=True).read_bytes(path)
    except OSError as error:
        raise ConfigError(
            [
                f"--click-model {path}: {error.strerror or error}; name a file that hlmat "
                "fit-clicks wrote, or leave the flag out for the model of the package"
            ]
        ) from error
    return parse_click_model(data, name=path)
