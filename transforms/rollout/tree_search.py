"""Tree search: segment several candidate clicks per state and expand the best-scored masks.

After SegAgent (arXiv 2503.08625): a model samples K actions, the segmenter answers each, and the
model's score of the resulting masks, its process reward, chooses among them. The first candidate is
always the model's most likely answer, so K = 1 is the greedy rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import ClickPolicy, PolicyAction, SamplingPolicy, Segmenter
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
from hlmat.transforms.rollout.episode import EpisodeRun
from hlmat.transforms.rollout.loop import (
    ImageEpisodes,
    RolloutLoop,
    build_session,
    edits_of,
    start_runs,
)
from hlmat.transforms.rollout.options import Limits, SearchOptions


@dataclass
class _Node:
    """A run and the model's answer to its state.

    Attributes:
        said: the model's most likely answer; None for a run that ended.
        score: its score of the run's mask, in [0, 1]; -1 if it gave none.
    """

    run: EpisodeRun
    said: PolicyAction | None = None
    score: float = -1.0


def search_all(
    images: Sequence[ImageEpisodes],
    *,
    segmenter: Segmenter,
    policy: ClickPolicy,
    limits: Limits,
    provenance: Provenance,
    options: SearchOptions,
    policy_draws_boxes: bool = False,
    starts_by_text: bool = False,
    threads: Threads | None = None,
    watchdog: Watchdog | None = None,
) -> list[list[Trajectory | SegmenterError]]:
    """Search the best trajectory of each target, several images in lockstep.

    Equal actions in a state are tried once. The best-scored new states of a target are expanded;
    ties go to the better parent, then to the most likely answer, then to samples in order. A
    candidate that ends the trajectory competes with the score of its last mask. Unreadable samples
    are dropped unless no other candidate remains.

    Arguments, result and errors are those of `roll_out_all`. A trajectory counts the calls of the
    whole search.

    Raises:
        TypeError: the policy cannot sample several answers.
    """
    if not isinstance(policy, SamplingPolicy):
        raise TypeError(f"policy {policy.name!r} gives one answer to a state; it cannot search")
    by_image = start_runs(images, limits=limits, edits=edits_of(policy, segmenter))
    runs = [run for group in by_image for run in group]
    session = build_session(segmenter, images, watchdog)
    loop = RolloutLoop(policy, session, threads or Threads())
    loop.set_up(runs, policy_draws_boxes=policy_draws_boxes, starts_by_text=starts_by_text)
    search = _Search(loop, policy, options, limits)
    best = search.run(runs)
    ends = iter(best)
    return [[next(ends).outcome(provenance) for _ in group] for group in by_image]


@dataclass(frozen=True)
class _Search:
    loop: RolloutLoop
    policy: SamplingPolicy
    options: SearchOptions
    limits: Limits

    def run(self, roots: Sequence[EpisodeRun]) -> list[EpisodeRun]:
        """Return the best end of each root."""
        beams = [[_Node(root)] for root in roots]
        nodes = [node for beam in beams for node in beam]
        self._ask([node for node in nodes if node.run.is_live or self._is_to_be_scored(node)])
        while any(node.run.is_live for beam in beams for node in beam):
            families = self._expand(beams)
            beams = [self._best(children) for children in families]
        return [beam[0].run for beam in beams]

    def _expand(self, beams: Sequence[Sequence[_Node]]) -> list[list[_Node]]:
        """Return the children of each target's nodes; finished nodes are passed on unchanged."""
        live = [node for beam in beams for node in beam if node.run.is_live]
        draws = self._draw(live)
        families: list[list[_Node]] = []
        actions: list[tuple[EpisodeRun, Click | Box | Undo]] = []
        for beam in beams:
            children: list[_Node] = []
            for node in beam:
                if node.run.is_live:
                    children += self._children(node, draws[id(node)], actions)
                else:
                    children.append(node)
            families.append(children)
        self.loop.take_step(actions, is_initial=False)
        moved = {id(run) for run, _ in actions}
        new = [child for children in families for child in children if id(child.run) in moved]
        self._ask([child for child in new if child.run.is_live or self._is_to_be_scored(child)])
        return families

    def _draw(self, nodes: Sequence[_Node]) -> dict[int, list[PolicyAction]]:
        """Sample the candidates other than the most likely one, for all nodes at once."""
        count = self.options.candidates - 1
        if count == 0:
            return {id(node): [] for node in nodes}
        states = [node.run.state() for node in nodes]
        drawn = self.policy.sample_actions(
            states, count=count, temperature=self.options.temperature
        )
        for node in nodes:
            node.run.calls.model += count
        return {id(node): list(actions) for node, actions in zip(nodes, drawn, strict=True)}

    def _children(
        self,
        node: _Node,
        drawn: Sequence[PolicyAction],
        actions: list[tuple[EpisodeRun, Click | Box | Undo]],
    ) -> list[_Node]:
        """Return a node's children, and append the actions to take."""
        assert node.said is not None
        children: list[_Node] = []
        seen: list[object] = []
        for action in (node.said, *drawn):
            meant = action.action if isinstance(action, Answer) else action
            if meant in seen:
                continue
            seen.append(meant)
            run = node.run.branch()
            admitted = run.admit(action)
            if admitted is not None:
                actions.append((run, admitted))
            children.append(_Node(run, score=node.score))
        readable = [c for c in children if c.run.stop_reason is not StopReason.INVALID_ACTION]
        return readable or children[:1]

    def _is_to_be_scored(self, child: _Node) -> bool:
        """Whether a run out of clicks needs the score of its last mask."""
        competes = self.options.candidates > 1 or self.options.beam > 1
        return child.run.stop_reason is StopReason.MAX_CLICKS and (
            competes or self.limits.score_last
        )

    def _ask(self, nodes: Sequence[_Node]) -> None:
        """Ask for the next action in each node's state and the score of its mask."""
        answers = self.loop.act([node.run for node in nodes]) if nodes else []
        for node, answer in zip(nodes, answers, strict=True):
            score = answer.predicted_iou if isinstance(answer, Answer) else None
            node.score = -1.0 if score is None else score
            if node.run.is_live:
                node.said = answer
            elif isinstance(answer, Answer):
                node.run.answer = answer

    def _best(self, children: Sequence[_Node]) -> list[_Node]:
        """Return the best-scored children, a failed one only if all failed."""
        usable = [child for child in children if child.run.error is None] or children[:1]
        ranked = sorted(usable, key=lambda child: -child.score)
        return ranked[: self.options.beam]
