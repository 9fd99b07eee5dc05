"""The rollout loop: a policy acts and a segmenter answers until a stop rule ends the trajectory.

Making trajectories with an oracle and evaluating a model use the same loop with different policies.
Targets advance in lockstep: policy and segmenter handle all of them at once, across images, if they
support that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import (
    BoxPolicy,
    ClickPolicy,
    EditingPolicy,
    Image,
    PolicyAction,
    Segmenter,
    StatewisePolicy,
)
from hlmat.transforms.core.records import (
    Answer,
    Box,
    Click,
    Provenance,
    StopReason,
    Trajectory,
    Undo,
)
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.core.watchdog import Watchdog
from hlmat.transforms.rollout.episode import Edits, Episode, EpisodeRun, Limits, live_runs
from hlmat.transforms.rollout.segmenter_batching import SegmenterSession, takes_boxes

_LARGE_PIXELS = 1 << 20


@dataclass(frozen=True)
class ImageEpisodes:
    """An image and the episodes on it.

    Attributes:
        image: uint8 RGB. Shape: (H, W, 3).
        episodes: one per target.
        encoded: the image encoded in advance by a `ManyImagesSegmenter`, or the error that it
            raised; None to encode on demand.
    """

    image: Image
    episodes: Sequence[Episode]
    encoded: Any | SegmenterError | None = None


def roll_out(
    episode: Episode,
    *,
    image: Image,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
) -> Trajectory:
    """Roll one target out.

    Raises:
        SegmenterError: the segmenter failed or broke its protocol.
    """
    outcome = roll_out_all(
        [ImageEpisodes(image, [episode])],
        segmenter=segmenter,
        policy=policy,
        limits=limits,
        provenance=provenance,
    )[0][0]
    if isinstance(outcome, SegmenterError):
        raise outcome
    return outcome


def roll_out_all(
    groups: Sequence[ImageEpisodes],
    *,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
    policy_draws_boxes: bool = False,
    starts_by_text: bool = False,
    threads: Threads | None = None,
    watchdog: Watchdog | None = None,
) -> list[list[Trajectory | SegmenterError]]:
    """Roll out the targets of several images in lockstep; return failures as values.

    Args:
        groups: one per image; either all images are encoded or none.
        policy_draws_boxes: ask the policy, a `BoxPolicy`, for the box each trajectory begins with.
        starts_by_text: ask the segmenter, a `TextSegmenter`, for the mask each trajectory begins
            with.
        threads: compare and encode masks, and ask a `StatewisePolicy`; None uses only the calling
            thread.
        watchdog: watches the segmenter's calls.

    Returns:
        One list per image, one outcome per episode.

    Raises:
        TypeError: the policy must draw boxes but cannot.
    """
    by_image = start_runs(groups, limits=limits, edits=edits_of(policy, segmenter))
    runs = [run for group in by_image for run in group]
    loop = RolloutLoop(policy, build_session(segmenter, groups, watchdog), threads or Threads())
    loop.set_up(runs, policy_draws_boxes=policy_draws_boxes, starts_by_text=starts_by_text)
    while live := live_runs(runs):
        admitted = [
            (run, run.admit(action)) for run, action in zip(live, loop.act(live), strict=True)
        ]
        loop.take_step([(r, act) for r, act in admitted if act is not None], is_initial=False)
    if limits.score_last:
        loop.score([run for run in runs if run.stop_reason is StopReason.MAX_CLICKS])
    return [[run.outcome(provenance) for run in group] for group in by_image]


def edits_of(policy: ClickPolicy, segmenter: Segmenter) -> Edits:
    """Return what a policy may do beside clicking, and whether a segmenter can use its boxes."""
    kinds = policy.edits if isinstance(policy, EditingPolicy) else frozenset()
    return Edits(undo=Undo in kinds, box=Box in kinds, box_is_usable=takes_boxes(segmenter))


def start_runs(
    groups: Sequence[ImageEpisodes], *, limits: Limits, edits: Edits
) -> list[list[EpisodeRun]]:
    """Return a new run for each episode, by image."""
    return [
        [
            EpisodeRun(episode, image_index=index, image=group.image, limits=limits, edits=edits)
            for episode in group.episodes
        ]
        for index, group in enumerate(groups)
    ]


def build_session(
    segmenter: Segmenter, groups: Sequence[ImageEpisodes], watchdog: Watchdog | None = None
) -> SegmenterSession:
    """Return a session for the images, with their encodings if given."""
    images = [group.image for group in groups]
    encoded = [group.encoded for group in groups]
    known = all(found is not None for found in encoded)
    return SegmenterSession(
        segmenter, images, encoded=encoded if known else None, watchdog=watchdog
    )


@dataclass(frozen=True)
class RolloutLoop:
    """Policy and segmenter, called for all runs in batches where possible."""

    policy: ClickPolicy
    session: SegmenterSession
    threads: Threads

    def set_up(
        self, runs: Sequence[EpisodeRun], *, policy_draws_boxes: bool, starts_by_text: bool
    ) -> None:
        """Set up the first state: initial mask, box, initial clicks of the episode and the policy.

        Raises:
            TypeError: the policy must draw boxes but cannot.
        """
        if starts_by_text:
            self._find_by_text(runs)
        self._show_initial_masks(runs)
        if policy_draws_boxes:
            self._ask_for_boxes(runs)
        boxed = [(run, run.box) for run in live_runs(runs) if run.box is not None]
        self.take_step(boxed, is_initial=True)
        clicked = [(run, click) for run in live_runs(runs) if (click := run.episode.initial_click)]
        self.take_step(clicked, is_initial=True)
        clicks = {id(run): list(self.policy.initial_clicks(run.state())) for run in live_runs(runs)}
        while waiting := [run for run in live_runs(runs) if clicks[id(run)]]:
            self.take_step([(run, clicks[id(run)].pop(0)) for run in waiting], is_initial=True)
        for run in live_runs(runs):
            run.stop_if_done()

    def act(self, runs: Sequence[EpisodeRun]) -> list[PolicyAction]:
        """Ask the policy about each run's state."""
        states = [run.state() for run in runs]
        if self._is_statewise:
            return self._map(self.policy.next_action, states, runs)  # pyright: ignore
        return self.counted(self.policy.next_actions(states), runs)

    def counted(self, actions: Sequence[Any], runs: Sequence[EpisodeRun]) -> list[Any]:
        """Check the number of a policy's answers, and count those of a model."""
        if len(actions) != len(runs):
            raise ValueError(
                f"policy {self.policy.name!r} gave {len(actions)} actions for {len(runs)} states"
            )
        for run, action in zip(runs, actions, strict=True):
            run.calls.model += isinstance(action, Answer)
        return list(actions)

    def score(self, runs: Sequence[EpisodeRun]) -> None:
        """Ask a model to score final masks, and keep its answers."""
        for run, action in zip(runs, self.act(runs) if runs else [], strict=True):
            run.answer = action if isinstance(action, Answer) else None

    def take_step(
        self, actions: Sequence[tuple[EpisodeRun, Click | Box | Undo]], *, is_initial: bool
    ) -> None:
        """Ask the segmenter about each run's action and record the answers.

        An undo asks nothing: the state that returns is known.
        """
        asked = [(run, action) for run, action in actions if not isinstance(action, Undo)]
        for run, action in actions:
            if isinstance(action, Undo):
                run.take_back()
        answers = self.session.ask(
            [(run.image_index, run.request(action)) for run, action in asked],
            targets=[run.episode.target.ref.target_id for run, _ in asked],
        )
        for run, _ in asked:
            run.calls.decoder += 1

        def record(index: int) -> None:
            run, action = asked[index]
            answer = answers[index]
            if isinstance(answer, SegmenterError):
                run.error = answer
            else:
                run.record(action, answer, is_initial=is_initial)

        self._map(record, range(len(asked)), [run for run, _ in asked])

    @cached_property
    def _is_statewise(self) -> bool:
        return isinstance(self.policy, StatewisePolicy)

    def _map(
        self, function: Callable[[Any], Any], items: Sequence[Any], runs: Sequence[EpisodeRun]
    ) -> list[Any]:
        """Map on threads if masks are large.

        For small ones, a call takes less time than handing the interpreter's lock between threads.
        """
        if runs and max(run.mask.size for run in runs) >= _LARGE_PIXELS:
            return self.threads.map(function, items)
        return [function(item) for item in items]

    def _find_by_text(self, runs: Sequence[EpisodeRun]) -> None:
        """Begin each run with the mask that the segmenter finds by the target's first text."""
        for run in runs:
            ref = run.episode.target.ref
            if not ref.expressions:
                run.error = SegmenterError(f"{ref.target_id} has no expression to find it by")
        asked = live_runs(runs)
        refs = [run.episode.target.ref for run in asked]
        answers = self.session.ask_by_text(
            [(run.image_index, ref.expressions[0]) for run, ref in zip(asked, refs, strict=True)],
            targets=[ref.target_id for ref in refs],
        )
        for run, answer in zip(asked, answers, strict=True):
            run.calls.decoder += 1
            if isinstance(answer, SegmenterError):
                run.error = answer
            else:
                run.begin_with(answer.mask)

    def _show_initial_masks(self, runs: Sequence[EpisodeRun]) -> None:
        """Pass the initial mask to the segmenter, as a mask or else as a box."""
        for run in runs:
            if run.initial_mask is None or not run.is_live:
                continue
            start = self.session.start_from(run.initial_mask)
            if isinstance(start, SegmenterError):
                run.error = start
            else:
                run.feedback = start.feedback
                run.initial_mask_box = start.box

    def _ask_for_boxes(self, runs: Sequence[EpisodeRun]) -> None:
        if not isinstance(self.policy, BoxPolicy):
            raise TypeError(f"policy {self.policy.name!r} draws no boxes")
        answers = self.policy.initial_boxes([run.state() for run in runs])
        for run, answer in zip(runs, self.counted(answers, runs), strict=True):
            run.admit_box(answer)
