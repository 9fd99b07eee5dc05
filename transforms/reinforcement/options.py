"""Settings of GRPO over whole rollouts: rewards, groups, updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hlmat.transforms.core.options import options, setting

Scale = Literal["group", "none"]
TrainingDtype = Literal["float32", "bfloat16"]


@options
class RewardOptions:
    """What a rollout is rewarded for, in IoU.

    Attributes:
        iou_weight: of the last mask's IoU.
        click_price: subtracted for every click and undo.
        overshoot_price: subtracted for each unit of the best IoU on the way that the last mask has
            lost again.
        invalid_price: subtracted if the rollout ended with an answer that is no action.
    """

    iou_weight: float = setting(default=1.0, ge=0, metavar="X", help="weight of the final IoU")
    click_price: float = setting(default=0.02, ge=0, metavar="X", help="subtracted for each click")
    overshoot_price: float = setting(
        default=0.5, ge=0, metavar="X", help="times the best IoU minus the final IoU, subtracted"
    )
    invalid_price: float = setting(
        default=0.5, ge=0, metavar="X", help="subtracted for an answer that cannot be read"
    )

    def conflicts(self) -> Iterator[str]:
        """Yield that nothing is rewarded."""
        if not (self.iou_weight or self.click_price or self.overshoot_price or self.invalid_price):
            yield "{iou_weight} and all prices are 0, so that every rollout is rewarded alike"


@options
class GrpoOptions:
    """How a model is trained on its rollouts.

    Attributes:
        rounds: of rollouts, each followed by its updates.
        group: rollouts of one target, which are compared with each other.
        targets: per round.
        temperature: of the rollouts, and of the probabilities that are learned.
        updates: of the weights per round, each on a part of the rollouts.
        parts: of an update, computed one after the other, which saves memory.
        kl: weight of the divergence from the start model.
        clip: how far the ratio of new and old probability counts, 1 - clip to 1 + clip.
        scale: "group" divides advantages by the standard deviation of their group.
        lora_rank: train an adapter of this rank, merged at the end; None trains every weight.
        save_every: rounds between checkpoints.
    """

    rounds: int = setting(
        default=40,
        ge=1,
        in_fingerprint=False,
        help="rounds of rollouts and updates; more of them go on with a finished training",
    )
    group: int = setting(default=8, ge=2, help="rollouts of one target, compared with each other")
    targets: int = setting(default=8, ge=1, help="targets per round")
    temperature: float = setting(
        default=1.0, gt=0, metavar="T", help="of the rollouts; above 1 explores more"
    )
    updates: int = setting(default=1, ge=1, help="updates per round, each on a part of it")
    parts: int = setting(default=4, ge=1, help="parts of an update, computed one after the other")
    learning_rate: float = setting(default=1e-5, gt=0, metavar="X", help="of AdamW")
    warmup: int = setting(default=0, ge=0, help="rounds in which the learning rate rises")
    kl: float = setting(
        default=0.02, ge=0, metavar="X", help="weight of the divergence from the start model"
    )
    clip: float = setting(
        default=0.2, gt=0, lt=1, metavar="X", help="bound of the ratio of new to old probability"
    )
    max_grad_norm: float = setting(
        default=1.0, gt=0, metavar="X", help="longer gradients are shortened"
    )
    scale: Scale = setting(
        default="group", metavar="S", help="divide advantages by their group's deviation, or not"
    )
    lora_rank: int | None = setting(
        default=None, ge=1, metavar="N", help="train a LoRA adapter of this rank (every weight)"
    )
    dtype: TrainingDtype = setting(
        default="float32", metavar="T", help="of the weights while training"
    )
    save_every: int = setting(
        default=5, ge=1, metavar="N", in_fingerprint=False, help="rounds between checkpoints"
    )
    strips: int = setting(
        default=4,
        ge=0,
        metavar="N",
        in_fingerprint=False,
        help="rollouts drawn as image strips at each checkpoint",
    )

    @property
    def rollouts(self) -> int:
        """Rollouts per round."""
        return self.group * self.targets

    def conflicts(self) -> Iterator[str]:
        """Yield why rollouts cannot be divided."""
        if self.rollouts % (self.updates * self.parts):
            yield (
                "{updates} times {parts} does not divide the rollouts of a round, {targets} times "
                "{group}"
            )
