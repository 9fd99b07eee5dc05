"""A gymnasium environment: the agent clicks, a segmenter updates the mask, the reward is IoU gain.

Importing this module registers it: ``gymnasium.make("hlmat/MaskAnnotation-v0", targets=...,
segmenter=...)``. It follows the rules of `hlmat.transforms.rollout.loop`, but a click without gain
does not end the episode.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import ConfigError, DataError, TargetError
from hlmat.transforms.core.protocols import Segmenter
from hlmat.transforms.core.questions import Question
from hlmat.transforms.core.records import (
    Click,
    Finish,
    InvalidAction,
    NoObject,
    Reject,
    StopReason,
    Undo,
)
from hlmat.transforms.envs.settings import EnvironmentSettings
from hlmat.transforms.envs.state import (
    AnnotationState,
    LoadedTarget,
    TargetSource,
    click_all,
    first_state,
    load_target,
    no_object_reward,
)
from hlmat.transforms.segmenters.registry import SegmenterOptions, load_segmenter

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.error import ResetNeeded
except ModuleNotFoundError as error:
    raise ConfigError(
        [f"the environment needs gymnasium ({error}); pip install 'hlmat[rl]'"]
    ) from error

ENVIRONMENT_ID = "hlmat/MaskAnnotation-v0"

Observation = dict[str, Any]
"""uint8 arrays: `image` (H, W, 3), `mask` (H, W) and `clicks` (H, W, 2); see `ObservationView`."""


class MaskAnnotationEnv(gymnasium.Env[Observation, Any]):
    """Annotate one target per episode; a step is a click, an undo, a finish or an invalid action.

    The reward of a click is the IoU after it minus the IoU before it, minus `click_cost`; an undo
    takes the last click in effect back and is rewarded in the same way; that of a finish is 0. An
    undo without such a click is invalid. A finish, an invalid action (if `ends_on_invalid`) and a
    click that reaches `target_iou` terminate the episode; it is truncated after `max_clicks` turns.

    Every `info` contains `target_id`, `expression` (the target's first), `iou`, `clicks` (how
    many), `is_invalid`, `problem` (why an action is invalid, else "") and `stop_reason` (a
    `StopReason` as text, "" while the episode goes on).

    Args:
        targets: the targets to annotate, as `list_targets` returns them.
        segmenter: a segmenter, or options to build one. Options are small and picklable, so pass
            them to vectorized environments. Environments may share a segmenter: its image is set
            again before each click.
        render_mode: "rgb_array" draws mask and clicks on the image, at the observation's size.
        settings: the fields of `EnvironmentSettings` by name.

    Attributes:
        rejects: drawn targets that could not be read, in order.

    Raises:
        ConfigError: invalid arguments (lists every problem), or the segmenter cannot be built.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        targets: Iterable[TargetSource],
        segmenter: Segmenter | SegmenterOptions,
        *,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self._targets = tuple(targets)
        problems = [
            *_target_problems(self._targets),
            *_segmenter_problems(segmenter),
            *_unknown_settings(settings),
        ]
        if render_mode not in (None, *self.metadata["render_modes"]):
            problems.append(f'render_mode {render_mode!r} is unknown; choose "rgb_array" or None')
        known = {n: v for n, v in settings.items() if n in EnvironmentSettings.__dataclass_fields__}
        try:
            self.settings = EnvironmentSettings(**known)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        self.render_mode = render_mode
        self.rejects: list[Reject] = []
        self._segmenter = (
            load_segmenter(segmenter) if isinstance(segmenter, SegmenterOptions) else segmenter
        )
        self._view = self.settings.view
        self._actions = self.settings.actions
        self._unusable: set[int] = set()
        self._state: AnnotationState | None = None
        self._turns = 0
        self._stop_reason: StopReason | None = None
        size_hw = self._view.size_hw
        self.action_space = self._actions.space()
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (*size_hw, 3), np.uint8),
                "mask": spaces.Box(0, 255, size_hw, np.uint8),
                "clicks": spaces.Box(0, 255, (*size_hw, 2), np.uint8),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode on a random target, or on that of ``options={"target": index}``.

        A drawn target that cannot be read is added to `rejects` and another one is drawn.

        Raises:
            ValueError: an unknown option, or an index out of range.
            TargetError: the requested target cannot be read.
            DataError: no readable target is left.
            SegmenterError: the segmenter cannot encode the image.
        """
        super().reset(seed=seed)
        index = _chosen_index(options or {}, count=len(self._targets))
        target = self._draw() if index is None else self._load(index)
        self._state = first_state(target)
        self._turns = 0
        self._stop_reason = None
        return self._view.observe(self._state), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply one action.

        Raises:
            ValueError: an action outside the action space; every str is inside.
            ResetNeeded: no episode is running.
            SegmenterError: the segmenter failed or broke its protocol.
        """
        if self._state is None or self._stop_reason is not None:
            raise ResetNeeded("no episode is running; call reset() before the next step()")
        before = self._state
        reading = self._actions.read(action, size_hw=before.target.size_hw)
        if isinstance(reading, Undo) and before.before is None:
            reading = InvalidAction(str(action), "nothing to undo: no click is in effect")
        problem = None
        match reading:
            case Click():
                self._state = click_all([(before, reading)], segmenter=self._segmenter)[0]
                reward = self._state.iou - before.iou - self.settings.click_cost
                if self.settings.target_iou is not None:
                    reached = self._state.iou >= self.settings.target_iou
                    self._stop_reason = StopReason.REACHED_IOU if reached else None
            case Undo():
                assert before.before is not None
                self._state = before.before
                reward = self._state.iou - before.iou - self.settings.click_cost
            case Finish(reason):
                reward = 0.0
                self._stop_reason = reason
            case NoObject():
                reward = no_object_reward(before.target.truth)
                self._stop_reason = StopReason.NO_OBJECT
            case InvalidAction(problem=problem):
                reward = self.settings.invalid_reward
                if self.settings.ends_on_invalid:
                    self._stop_reason = StopReason.INVALID_ACTION
        self._turns += 1
        terminated = self._stop_reason is not None
        truncated = not terminated and self._turns >= self.settings.max_clicks
        if truncated:
            self._stop_reason = StopReason.MAX_CLICKS
        observation = self._view.observe(self._state)
        return observation, float(reward), terminated, truncated, self._info(problem)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw mask and clicks on the image; None without a render mode.

        Returns:
            uint8 RGB of the observation's size. Shape: (H, W, 3).

        Raises:
            ResetNeeded: no episode has begun.
        """
        return None if self.render_mode is None else self._view.draw(self._begun())

    def question(self) -> Question:
        """Return the question about the current state, as in training data.

        Raises:
            ResetNeeded: no episode has begun.
        """
        state = self._begun()
        conversation = self.settings.conversation
        return Question(
            target_id=state.target.ref.target_id,
            turn=self._turns,
            image=conversation.view.draw(state.target.image, state.mask),
            text=conversation.turn_format.question(state.target.ref.expressions[0]),
            system=conversation.turn_format.system,
            functions=conversation.turn_format.functions,
            keeps_reasoning=conversation.turn_format.dialogue.keeps_reasoning,
        )

    @property
    def state(self) -> AnnotationState:
        """The current state at the image's original size, with the ground truth.

        Raises:
            ResetNeeded: no episode has begun.
        """
        return self._begun()

    def _begun(self) -> AnnotationState:
        if self._state is None:
            raise ResetNeeded("no episode has begun; call reset() first")
        return self._state

    def _info(self, problem: str | None = None) -> dict[str, Any]:
        state = self._begun()
        return {
            "target_id": state.target.ref.target_id,
            "expression": state.target.ref.expressions[0],
            "iou": state.iou,
            "clicks": len(state.clicks),
            "is_invalid": problem is not None,
            "problem": problem or "",
            "stop_reason": "" if self._stop_reason is None else self._stop_reason.value,
        }

    def _load(self, index: int) -> LoadedTarget:
        return load_target(self._targets[index], self._segmenter)

    def _draw(self) -> LoadedTarget:
        while len(self._unusable) < len(self._targets):
            index = int(self.np_random.integers(len(self._targets)))
            # Skip it instead of removing it, so that a seed draws the same targets in every run.
            if index in self._unusable:
                continue
            try:
                return self._load(index)
            except TargetError as error:
                self._unusable.add(index)
                self.rejects.append(Reject(self._targets[index].ref, error.reason, error.message))
        raise DataError(
            f"none of the {len(self._targets)} targets can be read; last error: "
            f"{self.rejects[-1].ref.target_id}: {self.rejects[-1].message}"
        )


def _target_problems(targets: tuple[Any, ...]) -> list[str]:
    if not targets:
        return ["targets is empty; list those of a data set with list_targets(reader)"]
    wrong = next((target for target in targets if not isinstance(target, TargetSource)), None)
    if wrong is None:
        return []
    return [
        f"targets: expected TargetSource objects, got {type(wrong).__name__}; "
        "list those of a data set with list_targets(reader)"
    ]


def _segmenter_problems(segmenter: Any) -> list[str]:
    is_class = isinstance(segmenter, type)
    if isinstance(segmenter, (Segmenter, SegmenterOptions)) and not is_class:
        return []
    seen = f"the class {segmenter.__name__}" if is_class else type(segmenter).__name__
    return [
        f"segmenter: expected a Segmenter or SegmenterOptions, got {seen}; "
        'pass for example SegmenterOptions("graphcut")'
    ]


def _unknown_settings(settings: dict[str, Any]) -> list[str]:
    known = EnvironmentSettings.__dataclass_fields__
    return [
        f"setting {name!r} is unknown; choose from {', '.join(known)}"
        for name in settings
        if name not in known
    ]


def _chosen_index(options: dict[str, Any], *, count: int) -> int | None:
    if unknown := [name for name in options if name != "target"]:
        raise ValueError(f'reset(): unknown options {", ".join(unknown)}; the only one is "target"')
    index = options.get("target")
    if index is None:
        return None
    is_index = isinstance(index, (int, np.integer)) and not isinstance(index, bool)
    if not is_index or not 0 <= index < count:
        raise ValueError(f'option "target" {index!r}: must be an integer from 0 to {count - 1}')
    return int(index)


if ENVIRONMENT_ID not in gymnasium.registry:
    gymnasium.register(
        ENVIRONMENT_ID, entry_point="hlmat.transforms.envs.gym_env:MaskAnnotationEnv"
    )
