"""The events of a round: answers stop, and the controller decides about each.

An answer stops when it is finished or has used its allowance. Engines that write whole answers
report these two events only; the tokens of a round come in as many calls of the engine as the
longest chain of decisions has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from trainer.spec.sampling import Sampling
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.whole_answers import open_stream
from trainer.text.rollouts.protocols import Controller, Engine, TrajectoryController
from trainer.text.rollouts.records import (
    Decision,
    PausedGroup,
    Progress,
    Prompt,
    SampleRequest,
    Trajectory,
    TrajectoryEvent,
)

CONTINUE = Decision("continue")
OF_ANSWERS = ("continue", "branch", "prune", "pause")
OF_GROUPS = ("train", "resample", "store", "drop")


@dataclass
class OpenGroup:
    """The answers to one problem while a round writes them."""

    prompt: Prompt
    finished: list[Trajectory] = field(default_factory=list)
    paused: list[Trajectory] = field(default_factory=list)


@dataclass(frozen=True)
class Writing:
    """A request of an open group, for each of whose answers `reserved` tokens are in the budget.

    `written` of these were used earlier in the round.
    """

    group: OpenGroup
    request: SampleRequest
    reserved: int
    written: int = 0


@dataclass
class RoundWriter:
    """Writes the answers of one round and counts tokens and decisions.

    `generated` are the tokens that the engine has written, `read` those and all that it read before
    them, `pruned` the answers that were cut.
    """

    engine: Engine
    control: Controller
    sampling: Sampling
    noise: Noise
    budget: Budget
    progress: Progress | None = None
    generated: int = 0
    read: int = 0
    pruned: list[Trajectory] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    _next_sample: Counter[str] = field(default_factory=Counter)

    def resume(self, paused: PausedGroup) -> tuple[OpenGroup, list[Writing]]:
        """Open a group of an earlier round; its unfinished answers are to be continued."""
        group, writings = OpenGroup(paused.prompt), []
        for trajectory in paused.trajectories:
            self._see(trajectory.problem, trajectory.sample)
            if self._is_finished(trajectory):
                group.finished.append(trajectory)
                continue
            left = self.sampling.max_new_tokens - trajectory.length
            self.budget.reserve(1, left)
            request = SampleRequest(
                trajectory.problem, trajectory.prompt, (trajectory.sample,), trajectory
            )
            writings.append(Writing(group, request, left))
        return group, writings

    def resample(self, group: OpenGroup, request: SampleRequest, count: int) -> Writing:
        """Request `count` further answers to a group's problem, in the way of `request`."""
        if count < 1:
            raise CodeError(
                f"{_name(self.control)} resamples {count} answers; give a count of at least 1"
            )
        longest = self.sampling.max_new_tokens
        self.budget.reserve(count, count * longest)
        samples = self._new_samples(request.problem, count)
        return Writing(group, replace(request, samples=samples), longest)

    def write(self, writings: Sequence[Writing]) -> None:
        """Write the answers into their groups, as the controller decides at each event."""
        for writing in writings:
            for sample in writing.request.samples:
                self._see(writing.request.problem, sample)
        stream = open_stream(self.engine, self.sampling, self.noise)
        waiting = list(writings)
        while waiting:
            handles = stream.submit([writing.request for writing in waiting])
            owners = iter(handles)
            writing_by_handle = {
                handle: writing
                for writing in waiting
                for handle in islice(owners, len(writing.request.samples))
            }
            stopped = stream.finish(self.progress)
            waiting = [
                further
                for handle, writing in writing_by_handle.items()
                for further in self._react(writing, stopped[handle])
            ]

    def count(self, decision: Decision, allowed: Sequence[str] = OF_GROUPS) -> Decision:
        """Count a decision. Raises CodeError if it has no meaning here.

        To continue and to train are counted only with a reason: they are what happens anyway.
        """
        if decision.action not in allowed:
            what = "an answer" if allowed == OF_ANSWERS else "a group"
            raise CodeError(
                f"{_name(self.control)} decides to {decision.action} {what}; the decisions are "
                f"{', '.join(allowed)}"
            )
        if decision.reason or decision.action not in ("continue", "train"):
            self.decisions[str(decision)] += 1
        return decision

    def _react(self, writing: Writing, trajectory: Trajectory) -> list[Writing]:
        """Do what the controller decides about an answer that stopped; return what to write."""
        prefix = writing.request.prefix
        tokens = trajectory.length - (prefix.length if prefix else 0)
        self.generated += tokens
        self.read += len(trajectory.prompt) + trajectory.length
        written, finished = writing.written + tokens, self._is_finished(trajectory)
        decision = self._decision(TrajectoryEvent(trajectory, finished))
        branches = (
            [self._branch(writing, trajectory, finished, decision)]
            if decision.action == "branch"
            else []
        )
        if not finished and decision.action in ("continue", "branch"):
            request = replace(writing.request, samples=(trajectory.sample,), prefix=trajectory)
            return [replace(writing, request=request, written=written), *branches]
        self.budget.spend(writing.reserved, written)
        by_action = {"prune": self.pruned, "pause": writing.group.paused}
        by_action.get(decision.action, writing.group.finished).append(trajectory)
        return branches

    def _decision(self, event: TrajectoryEvent) -> Decision:
        if not isinstance(self.control, TrajectoryController):
            return CONTINUE
        return self.count(self.control.decide_trajectory(event), OF_ANSWERS)

    def _branch(
        self, writing: Writing, trajectory: Trajectory, finished: bool, decision: Decision
    ) -> Writing:
        # After its end token nothing can follow.
        most = trajectory.length - finished
        if decision.count < 1 or not 0 < decision.tokens <= most:
            raise CodeError(
                f"{_name(self.control)} branches {decision.count} answers after "
                f"{decision.tokens} of {trajectory.length} tokens; give a count of at least 1, and "
                f"1 to {most} tokens"
            )
        left = self.sampling.max_new_tokens - decision.tokens
        self.budget.reserve(decision.count, decision.count * left)
        request = replace(
            writing.request,
            samples=self._new_samples(trajectory.problem, decision.count),
            prefix=trajectory.first(decision.tokens),
        )
        return Writing(writing.group, request, left)

    def _is_finished(self, trajectory: Trajectory) -> bool:
        return not trajectory.truncated or trajectory.length >= self.sampling.max_new_tokens

    def _see(self, problem: str, sample: int) -> None:
        self._next_sample[problem] = max(self._next_sample[problem], sample + 1)

    def _new_samples(self, problem: str, count: int) -> tuple[int, ...]:
        """Rollout indices that no other answer of the round to this problem has."""
        first = self._next_sample[problem]
        self._next_sample[problem] += count
        return tuple(range(first, first + count))


def _name(plug_in: object) -> str:
    return type(plug_in).__name__
