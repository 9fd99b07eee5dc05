"""The flags of `hlmat train`, `hlmat star-plus` and `hlmat ladder`.

A flag that replaces a recipe's has no default, and the command that owns the flag checks its value,
as for the recipe's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hlmat.pipelines.settings.export_options import EXPORT
from hlmat.pipelines.settings.flags import Flag, Group, flags_in
from hlmat.pipelines.settings.run_flags import TRAJECTORIES
from hlmat.transforms.core.options import options, setting

DATA_FLAGS = (
    *("dataset", "data-root", "split", "limit", "checkpoint", "device"),
    *("segmenter-path", "workers"),
)
"""Flags of `hlmat trajectories` that replace a recipe's."""
RUNNER_FLAGS = ("runner", "worker-timeout", "accelerator")
"""Flags of `hlmat trajectories` that say where the rollouts and evaluations of StaR+ run."""
EXPORT_FLAGS = ("expressions", "codec", "mask-colour")
"""Flags of `hlmat export` that replace a recipe's."""


@options
class TrainOptions:
    """The settings of `hlmat train` that are not in its recipe."""

    recipe: str | None = setting(
        default=None, metavar="R", help="a name in train_recipes/, or a recipe's folder"
    )
    out: str | None = setting(default=None, metavar="DIR", help="output folder, local (out/RECIPE)")
    overwrite: bool = setting(
        default=False,
        help="train again; trajectories and data with unchanged flags are kept",
    )
    dry_run: bool = setting(
        default=False, help="validate everything and print the steps; make nothing"
    )
    trajectories: str | None = setting(
        default=None,
        metavar="OUT",
        help="a run shared with other trainings (DIR/trajectories)",
    )
    also: tuple[str, ...] = setting(
        default=(),
        metavar="OUT",
        help="rollouts of a model on the same targets, to learn from by StaR+ as well; repeatable",
    )
    run_folder: str | None = setting(
        default=None,
        metavar="OUT",
        help="a finished run to learn from instead of the recipe's trajectories, such as a "
        "teacher's rollouts",
    )
    add: tuple[str, ...] = setting(
        default=(),
        metavar="OUT",
        help="another finished run whose clicks are learned as well; repeatable",
    )
    model: str | None = setting(
        default=None, metavar="PATH", help="the base model, a folder or a hub id"
    )
    model_device: Literal["auto", "cpu", "cuda"] = setting(
        default="auto",
        metavar="DEV",
        help="where the model is built, trained and asked",
    )
    overrides: tuple[str, ...] = setting(
        default=(),
        metavar="KEY=VALUE",
        help="a setting of LLaMA-Factory's; null leaves it out; repeatable",
    )


@options
class StarPlusOptions:
    """The settings of `hlmat star-plus` that `hlmat train` lacks."""

    rounds: int = setting(default=1, ge=1, help="rounds of improvement")
    first: str | None = setting(
        default=None,
        metavar="DIR",
        help="the first training, run if missing (out/RECIPE)",
    )
    rollout_limit: int | None = setting(
        default=None, ge=1, help="roll out only the first N training targets (all)"
    )
    evaluation_split: str | None = setting(
        default=None,
        metavar="S",
        help="split of --dataset; without --dataset, the recipe's evaluation set",
    )
    evaluation_limit: int | None = setting(
        default=None, ge=1, help="evaluate only on the first N targets (all)"
    )


@options
class LadderOptions:
    """The settings of `hlmat ladder` that are not in its recipe."""

    out: str | None = setting(
        default=None, metavar="DIR", help="output folder, local (out/RECIPE-ladder)"
    )
    star: str | None = setting(
        default=None,
        metavar="DIR",
        help="the rounds of StaR+, run if missing (out/RECIPE-star-plus)",
    )
    limit: int | None = setting(default=None, ge=1, help="only the first N targets of each set")
    until: Literal["sft", "star-plus", "always", "stop", "search"] | None = setting(
        default=None,
        metavar="RUNG",
        help="only the rungs up to this one, without the tables (always: where the model "
        "finishes by itself)",
    )


def _instead(known: dict[str, Flag], *names: str) -> tuple[Flag, ...]:
    """Return flags without their defaults."""
    return tuple(replace(known[name], default=None, default_text="", alias=None) for name in names)


_RECIPE = Flag("recipe", TrainOptions)
_MODEL = Flag("model", TrainOptions)
_MODEL_DEVICE = Flag("model-device", TrainOptions)
_SET = Flag("set", TrainOptions, "overrides", dest="overrides")
_FIRST = Flag("first", StarPlusOptions)
_OUTPUT = Group(
    "recipe and output", (_RECIPE, Flag("out", TrainOptions), Flag("overwrite", TrainOptions))
)
_TRAINING = (
    Group(
        "trajectories, instead of the recipe's",
        (
            *_instead(flags_in(TRAJECTORIES), *DATA_FLAGS),
            *_instead(flags_in(EXPORT), "expressions"),
            Flag("trajectories", TrainOptions),
            Flag("also", TrainOptions),
        ),
    ),
    Group(
        "conversation, instead of the recipe's",
        _instead(flags_in(EXPORT), "codec", "mask-colour"),
    ),
    Group("training, instead of the recipe's", (_MODEL, _MODEL_DEVICE, _SET)),
)
TRAIN = (
    Group(_OUTPUT.title, (*_OUTPUT.flags, Flag("dry-run", TrainOptions))),
    _TRAINING[0],
    Group(
        "rollouts of a teacher",
        (
            Flag("from", TrainOptions, "run_folder", dest="run_folder"),
            Flag("add", TrainOptions),
            replace(
                *_instead(flags_in(EXPORT), "min-iou"),
                help="of --from and --add, leave out targets whose last mask has a lower IoU",
            ),
        ),
    ),
    *_TRAINING[1:],
)
STAR_PLUS = (
    _OUTPUT,
    *_TRAINING,
    Group(
        "rounds",
        (
            Flag("rounds", StarPlusOptions),
            _FIRST,
            Flag("rollout-limit", StarPlusOptions),
            Flag("evaluation-split", StarPlusOptions),
            Flag("evaluation-limit", StarPlusOptions),
        ),
    ),
    Group("rollouts and evaluations", _instead(flags_in(TRAJECTORIES), *RUNNER_FLAGS)),
)
LADDER_PLACES = ("data-root", "checkpoint", "device", "segmenter-path", "workers")
"""Flags of `hlmat trajectories` that say where data, segmenter and its weights are."""
LADDER = (
    Group(
        "recipe and output",
        (
            Flag(
                "recipe",
                TrainOptions,
                help="a name in train_recipes/, or a recipe's folder; it holds a ladder.yaml",
            ),
            Flag("out", LadderOptions),
            _FIRST,
            Flag("star", LadderOptions),
            Flag("limit", LadderOptions),
            Flag("until", LadderOptions),
        ),
    ),
    Group("places, instead of the recipe's", _instead(flags_in(TRAJECTORIES), *LADDER_PLACES)),
    Group(
        "training, instead of the recipe's",
        (
            _MODEL,
            _MODEL_DEVICE,
            replace(_SET, help="a setting of LLaMA-Factory's, in every training; repeatable"),
        ),
    ),
)
