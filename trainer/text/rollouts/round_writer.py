"""The events of a round: answers stop, and the controller decides about each.

An answer stops when it is finished or has used its allowance. A controller that watches tokens also
decides about answers in progress, every few token steps; for others nothing is reported between
two stops, and the answers of a round are written in as many calls as the longest chain of decisions
has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from trainer.spec.sampling import Sampling
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.whole_answers import open_stream
from trainer.text.rollouts.protocols import (
    Controller,
    Engine,
    TokenController,
    TrajectoryController,
)
from trainer.text.rollouts.records import (
    AnswerInProgress,
    Decision,
    PausedGroup,
    Progress,
    Prompt,
    SampleRequest,
    Trajectory,
    TrajectoryEvent,
)
from trainer.text.rollouts.streaming import Stream

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

    `written` of these were used earlier in the round. The answers have `start` tokens when they are
    submitted, those of a branch being of rollout index `parent`.
    """

    group: OpenGroup
    request: SampleRequest
    reserved: int
    written: int = 0
    start: int = 0
    parent: int | None = None


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
    # Of a stream whose tokens are watched: tokens of each handle, and answers that ended.
    _lengths: dict[int, int] = field(default_factory=dict)
    _ended: int = 0

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
            writings.append(Writing(group, request, left, parent=trajectory.parent))
        return group, writings

    def beside_resumed(self, request: SampleRequest) -> SampleRequest:
        """The request with rollout indices that no resumed answer to its problem has.

        Otherwise two answers of the round would have one name and one stream of noise.
        """
        first = self._next_sample[request.problem]
        return replace(request, samples=tuple(first + sample for sample in request.samples))

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
        watcher = self.control if isinstance(self.control, TokenController) else None
        stream = open_stream(
            self.engine, self.sampling, self.noise, watcher.measures if watcher else None
        )
        self._lengths = {}
        groups = {id(writing.group): writing.group for writing in writings}
        finished_before = {key: len(group.finished) for key, group in groups.items()}
        with closing(stream):
            open_answers = self._submit(stream, writings)
            while open_answers:
                stopped = (
                    self._watch(stream, watcher, open_answers)
                    if watcher
                    else stream.finish(self.progress)
                )
                further = [
                    writing
                    for handle, trajectory in stopped.items()
                    for writing in self._react(open_answers.pop(handle), trajectory)
                ]
                open_answers |= self._submit(stream, further)
        for key, group in groups.items():
            # What is learnt must not depend on which answer happened to end first.
            first = finished_before[key]
            group.finished[first:] = sorted(group.finished[first:], key=lambda one: one.sample)

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

    def _submit(self, stream: Stream, writings: Sequence[Writing]) -> dict[int, Writing]:
        """Submit requests; return what each of their answers is written for, by handle."""
        handles = iter(stream.submit([writing.request for writing in writings]))
        return {
            handle: replace(
                writing,
                request=replace(writing.request, samples=(sample,)),
                start=writing.request.written,
            )
            for writing in writings
            for sample, handle in zip(writing.request.samples, handles, strict=False)
        }

    def _watch(
        self, stream: Stream, watcher: TokenController, open_answers: dict[int, Writing]
    ) -> dict[int, Trajectory]:
        """Write a few tokens, do what the controller decides, and return what has ended."""
        events = stream.step(watcher.every)
        # The last position of each handle counts, since columns are in the order of the steps.
        lengths = {
            handle: position + 1
            for handle, position in zip(
                events.handles.tolist(), events.positions.tolist(), strict=True
            )
        }
        self._lengths |= lengths
        in_progress = {
            handle: AnswerInProgress(
                writing.request.problem,
                writing.request.samples[0],
                self._lengths.get(handle, writing.start),
                writing.start,
                writing.parent,
            )
            for handle, writing in open_answers.items()
            if handle not in events.ended
        }
        self._steer(stream, watcher.watch(events, in_progress), in_progress, open_answers)
        if self.progress and events.ended:
            self._ended += len(events.ended)
            self.progress(self._ended, self._ended + len(open_answers) - len(events.ended))
        return events.ended

    def _steer(
        self,
        stream: Stream,
        decisions: Mapping[int, Decision],
        in_progress: Mapping[int, AnswerInProgress],
        open_answers: dict[int, Writing],
    ) -> None:
        """Do what the controller decides about answers that are being written."""
        leaving: dict[int, str] = {}
        for handle, decision in sorted(decisions.items()):
            if handle not in in_progress:
                raise CodeError(
                    f"{_name(self.control)} decides about answer {handle}, which is not being "
                    "written"
                )
            self.count(decision, OF_ANSWERS)
            if decision.action == "branch":
                self._fork(stream, handle, decision, in_progress[handle].length, open_answers)
            elif decision.action != "continue":
                leaving[handle] = decision.action
        for handle, trajectory in stream.abort(list(leaving)).items() if leaving else ():
            writing = open_answers.pop(handle)
            written = self._count_tokens(writing, trajectory)
            self.budget.spend(writing.reserved, written)
            stopped = self.pruned if leaving[handle] == "prune" else writing.group.paused
            stopped.append(trajectory)

    def _fork(
        self,
        stream: Stream,
        handle: int,
        decision: Decision,
        length: int,
        open_answers: dict[int, Writing],
    ) -> None:
        """Branch off an answer that is being written."""
        writing = open_answers[handle]
        request = writing.request
        samples, left = self._branches(request.problem, decision, length, length)
        if decision.forced and len(decision.forced) != decision.count:
            raise CodeError(
                f"{_name(self.control)} forces {len(decision.forced)} tokens for {decision.count} "
                "branches; give one for each"
            )
        handles = stream.fork(handle, decision.tokens, samples, decision.forced)
        for child, sample in zip(handles, samples, strict=True):
            own = replace(request, samples=(sample,))
            open_answers[child] = Writing(
                writing.group, own, left, 0, decision.tokens, request.samples[0]
            )

    def _count_tokens(self, writing: Writing, trajectory: Trajectory) -> int:
        """Count what an answer that stopped has used; return what it has used in this round."""
        tokens = trajectory.length - writing.start
        self.generated += tokens
        self.read += len(trajectory.prompt) + trajectory.length
        return writing.written + tokens

    def _react(self, writing: Writing, trajectory: Trajectory) -> list[Writing]:
        """Do what the controller decides about an answer that stopped; return what to write."""
        written, finished = self._count_tokens(writing, trajectory), self._is_finished(trajectory)
        decision = self._decision(TrajectoryEvent(trajectory, finished))
        branches = (
            [self._branch(writing, trajectory, finished, decision)]
            if decision.action == "branch"
            else []
        )
        if not finished and decision.action in ("continue", "branch"):
            request = replace(
                writing.request, samples=(trajectory.sample,), prefix=trajectory, forced=None
            )
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
        samples, left = self._branches(trajectory.problem, decision, trajectory.length, most)
        request = replace(
            writing.request,
            samples=samples,
            prefix=trajectory.first(decision.tokens),
            forced=None,
        )
        return Writing(writing.group, request, left, parent=trajectory.sample)

    def _branches(
        self, problem: str, decision: Decision, length: int, most: int
    ) -> tuple[tuple[int, ...], int]:
        """Reserve branches; return their rollout indices and how long each may go on."""
        if decision.count < 1 or not 0 < decision.tokens <= most:
            raise CodeError(
                f"{_name(self.control)} branches {decision.count} answers after "
                f"{decision.tokens} of {length} tokens; give a count of at least 1, and "
                f"1 to {most} tokens"
            )
        left = self.sampling.max_new_tokens - decision.tokens
        self.budget.reserve(decision.count, decision.count * left)
        return self._new_samples(problem, decision.count), left

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
