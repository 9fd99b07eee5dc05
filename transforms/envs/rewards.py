"""Rewards for fine-tuning a model on single answers: IoU gain, or the geometry of the click.

Both have the interfaces of TRL and verl; see `AnswerReward`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import Segmenter, TruthMasks
from hlmat.transforms.core.records import Click, Finish, InvalidAction, NoObject, Undo
from hlmat.transforms.envs.answer_reward import AnswerReward, Sample
from hlmat.transforms.envs.click_depth import relative_depth
from hlmat.transforms.envs.state import (
    AnnotationState,
    LoadedTarget,
    TargetSource,
    click_all,
    first_state,
    load_target,
    no_object_reward,
)
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.policies.model_policy import Conversation
from hlmat.transforms.segmenters.registry import SegmenterOptions, load_segmenter

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_KEPT = 16

_StateKey = tuple[str, tuple[Click, ...]]
"""A target's id and the clicks made."""


class IouGainReward(AnswerReward):
    """Reward the IoU after a text's click minus the IoU before it.

    Earlier clicks are replayed with the segmenter, each with the feedback of the one before it, so
    the column `mask` is not needed. Recent states are cached: a group of answers about one state
    replays it once. An `Undo` is rewarded like a click, and invalid without clicks. A `Finish`
    earns 0, a `NoObject` 1 if right, else -1.

    Args:
        targets: all targets that rows refer to.
        segmenter: a segmenter, or options to build one with the first answer.
        conversation: parses texts; None uses decimal coordinates with `Finish`.
        invalid_reward: reward of a text that is not exactly one action.

    Raises:
        ConfigError: no targets, two targets with one id, or a reward that is not finite.
    """

    __name__ = "iou_gain"

    def __init__(
        self,
        targets: Iterable[TargetSource],
        segmenter: Segmenter | SegmenterOptions,
        *,
        conversation: Conversation | None = None,
        invalid_reward: float = -1.0,
    ) -> None:
        super().__init__(targets, conversation=conversation, invalid_reward=invalid_reward)
        self._segmenter = segmenter
        self._built: Segmenter | None = None
        self._targets: _Recent[str, LoadedTarget] = _Recent()
        self._states: _Recent[_StateKey, AnnotationState] = _Recent()

    def __getstate__(self) -> dict[str, Any]:
        fresh = {"_built": None, "_targets": _Recent(), "_states": _Recent()}
        return {**super().__getstate__(), **fresh}

    def _rewards(self, samples: Sequence[Sample]) -> list[float]:
        segmenter = self._tool()
        states = self._replay(samples, segmenter)
        rewards = [0.0] * len(samples)
        chosen: list[tuple[int, AnnotationState, Click]] = []
        for i, (sample, state) in enumerate(zip(samples, states, strict=True)):
            match self.read(sample, size_hw=state.target.size_hw):
                case Click() as click:
                    chosen.append((i, state, click))
                case Undo() if state.before is not None:
                    rewards[i] = state.before.iou - state.iou
                case Undo():
                    rewards[i] = self.invalid_reward
                case NoObject():
                    rewards[i] = no_object_reward(state.target.truth)
                case InvalidAction():
                    rewards[i] = self.invalid_reward
        after = click_all([(state, click) for _, state, click in chosen], segmenter=segmenter)
        for (i, before, _), state in zip(chosen, after, strict=True):
            rewards[i] = state.iou - before.iou
        return rewards

    def _replay(self, samples: Sequence[Sample], segmenter: Segmenter) -> list[AnnotationState]:
        """Return the state of each sample; replay those not cached in lockstep."""
        keys = [(sample.source.ref.target_id, sample.clicks) for sample in samples]
        states: dict[_StateKey, AnnotationState] = {}
        for key, sample in zip(keys, samples, strict=True):
            if key not in states:
                states[key] = self._states.get(key) or first_state(self._load(sample, segmenter))
                sample.check(states[key].target.size_hw)
        while behind := [k for k, state in states.items() if len(state.clicks) < len(k[1])]:
            clicks = [(states[k], k[1][len(states[k].clicks)]) for k in behind]
            states.update(zip(behind, click_all(clicks, segmenter=segmenter), strict=True))
        for key, state in states.items():
            self._states.keep(key, state)
        return [states[key] for key in keys]

    def _load(self, sample: Sample, segmenter: Segmenter) -> LoadedTarget:
        target_id = sample.source.ref.target_id
        target = self._targets.get(target_id) or load_target(sample.source, segmenter)
        self._targets.keep(target_id, target)
        return target

    def _tool(self) -> Segmenter:
        if self._built is None:
            given = self._segmenter
            self._built = load_segmenter(given) if isinstance(given, SegmenterOptions) else given
        return self._built


class ClickDepthReward(AnswerReward):
    """Reward the depth of a click in the error, relative to the oracle's click; needs no segmenter.

    A click outside its error region earns 0, the oracle's click 1; see `relative_depth`. A `Finish`
    earns 1 if no error is left, else 0; a `NoObject` 1 if right, else -1; an `Undo` 0, and without
    clicks it is invalid. The mask is read from the
    column `mask`, which is required for rows with clicks; without it the mask is empty.

    Args:
        targets: all targets that rows refer to.
        conversation: parses texts; None uses decimal coordinates with `Finish`.
        invalid_reward: reward of a text that is not exactly one action.

    Raises:
        ConfigError: no targets, two targets with one id, or a reward that is not finite.
    """

    __name__ = "click_depth"

    def __init__(
        self,
        targets: Iterable[TargetSource],
        *,
        conversation: Conversation | None = None,
        invalid_reward: float = -1.0,
    ) -> None:
        super().__init__(targets, conversation=conversation, invalid_reward=invalid_reward)
        self._truths: _Recent[str, TruthMasks] = _Recent()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_truths": _Recent()}

    def _rewards(self, samples: Sequence[Sample]) -> list[float]:
        return [self._reward(sample) for sample in samples]

    def _reward(self, sample: Sample) -> float:
        ref = sample.source.ref
        masks = self._truths.get(ref.target_id) or sample.source.reader.load_truth(ref)
        self._truths.keep(ref.target_id, masks)
        truth, ignore = masks.truth, masks.ignore
        size_hw = (truth.shape[0], truth.shape[1])
        sample.check(size_hw)
        if sample.mask is None and sample.clicks:
            raise DataError(
                f"{ref.target_id}: {self.__name__} needs the mask after "
                f"{len(sample.clicks)} clicks; add the column mask, as state_columns writes it"
            )
        mask = np.zeros_like(truth) if sample.mask is None else sample.mask
        clicked = sample.clicks
        match self.read(sample, size_hw=size_hw):
            case Click() as click:
                return relative_depth(click, mask, truth, ignore=ignore, clicked=clicked)
            case Finish():
                is_done = oracle_click(mask, truth, ignore=ignore, clicked=clicked) is None
                return float(is_done)
            case Undo():
                return 0.0 if clicked else self.invalid_reward
            case NoObject():
                return no_object_reward(truth)
            case InvalidAction():
                return self.invalid_reward


class _Recent(Generic[Key, Value]):
    """Cache the most recently used values by key."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def keep(self, key: Key, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > _KEPT:
            self._values.popitem(last=False)
