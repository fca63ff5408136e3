"""Rounds of rollouts in four stages: generate, filter, control, replay (the GFCR taxonomy).

    plan        the controller says how many answers each problem gets, and reserves them
    propose     the generator makes requests of the problems; paused answers are requested first
    events      answers stop, finished or at their allowance (engine), and the controller continues,
                branches, prunes or pauses each
    complete    groups without a paused answer are judged (filter), and the controller trains on,
                resamples, stores or drops each
    finalise    trained and replayed groups become rows (filter), stored ones go to the replay, and
                every token is accounted for

A round ends with rows to train on and token counts; the optimiser is elsewhere. A pipeline lives as
long as its stage, and a checkpoint has its state: that of its plug-ins and the paused answers. With
the plainest plug-ins the answers are, bit for bit, those of `SamplerAndJudge.sample_answers` with
the same noise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.overlap import OverlapEngine
from trainer.text.rollouts.protocols import (
    BudgetingController,
    Controller,
    Engine,
    Filter,
    Generator,
    Replay,
    Stateful,
    StoredState,
)
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import (
    Decision,
    DroppedAnswer,
    Group,
    PausedGroup,
    Progress,
    Prompt,
    SampleRequest,
    TrainRow,
)
from trainer.text.rollouts.round_writer import OpenGroup, RoundWriter, Writing
from trainer.text.rollouts.telemetry import Telemetry, WrittenTokens, account_for_round

# The reason under which tokens count that are still stored or paused after a stage's last round.
STAGE_ENDED = "the stage ended"


@dataclass(frozen=True)
class RolloutRound:
    """Rows to train on.

    `trained` are the groups that they come from, `new_groups` the groups completed in this round.
    """

    rows: list[TrainRow]
    trained: list[Group]
    new_groups: list[Group]
    telemetry: Telemetry

    @property
    def answers(self) -> list[Answer]:
        """All answers completed in this round, unchanged."""
        return [answer for group in self.new_groups for answer in group.answers]


@dataclass(frozen=True)
class PipelineState:
    """What the next round depends on: each plug-in's state by its role, and what is paused.

    `stored_tokens` are those of the groups in the replay store.
    """

    plug_ins: Mapping[str, StoredState] = field(default_factory=dict)
    in_flight: tuple[PausedGroup, ...] = ()
    stored_tokens: int = 0


@dataclass
class RolloutPipeline:
    """The five plug-ins of a stage; problems whose id is in `held_out` are refused."""

    engine: Engine
    generate: Generator
    filter: Filter
    control: Controller
    replay: Replay
    held_out: frozenset[str] = frozenset()
    _in_flight: tuple[PausedGroup, ...] = field(default=(), init=False)
    _stored_tokens: int = field(default=0, init=False)

    def run_round(
        self,
        prompts: Sequence[Prompt],
        noise: Noise,
        version: int,
        budget: Budget | None = None,
        progress: Progress | None = None,
        last: bool = False,
    ) -> RolloutRound:
        """Sample the student's answers to the planned problems and make rows of them.

        The student's weights have had `version` updates. Without a budget the round may generate
        what its controller says, by default just what its generator requests. After the `last`
        round of a stage nothing stays stored or paused. A round that raises changes nothing of the
        pipeline's state. Raises BudgetExceeded and, for a held-out problem, ValueError, both before
        anything is generated; raises ConservationError if a plug-in loses an answer or uses it
        twice, and CodeError for a decision that has no meaning where it is made.
        """
        # Before anything is sampled: a held-out problem must not cost or teach anything.
        self._refuse_held_out(prompts)
        with self._unchanged_on_failure():
            return self._run_round(prompts, noise, version, budget, progress, last)

    def begin(self, prompts: Sequence[Prompt], noise: Noise) -> None:
        """Start sampling the next round if the engine can overlap; otherwise do nothing."""
        if isinstance(self.engine, OverlapEngine):
            self._refuse_held_out(prompts)
            # The round itself plans again, so that a controller must not see this as a round.
            before = self.state()
            counts = self.control.plan(prompts, self.generate, self._budget(len(prompts)))
            requests = self.generate.propose(prompts, counts)
            self.load(before)
            self.engine.begin(requests, self.generate.sampling, noise)

    def state(self) -> PipelineState:
        return PipelineState(
            {role: _copied(plug_in.state()) for role, plug_in in self._stateful().items()},
            self._in_flight,
            self._stored_tokens,
        )

    def load(self, state: PipelineState) -> None:
        self._refuse_held_out(
            [
                *(group.prompt for plug_in in state.plug_ins.values() for group in plug_in.groups),
                *(group.prompt for group in state.in_flight),
            ]
        )
        for role, plug_in in self._stateful().items():
            plug_in.load(_copied(state.plug_ins.get(role, StoredState())))
        self._in_flight, self._stored_tokens = state.in_flight, state.stored_tokens

    def _stateful(self) -> dict[str, Stateful]:
        by_role = {"generate": self.generate, "control": self.control, "replay": self.replay}
        return {role: plug_in for role, plug_in in by_role.items() if isinstance(plug_in, Stateful)}

    @contextmanager
    def _unchanged_on_failure(self) -> Iterator[None]:
        """Restore the state if the round fails: it is repeated where memory ran out."""
        before = self.state()
        try:
            yield
        except BaseException:
            self.load(before)
            raise

    def _run_round(
        self,
        prompts: Sequence[Prompt],
        noise: Noise,
        version: int,
        budget: Budget | None,
        progress: Progress | None,
        last: bool,
    ) -> RolloutRound:
        budget = budget or self._budget(len(prompts))
        in_flight_before, paused = _tokens(self._in_flight), self._in_flight
        writer = RoundWriter(
            self.engine, self.control, self.generate.sampling, noise, budget, progress
        )
        resumed = [writer.resume(group) for group in paused]
        counts = self.control.plan(prompts, self.generate, budget)
        fresh = self._proposed(prompts, counts, writer)
        self.engine.update(version)
        writer.write([writing for _, writings in (*resumed, *fresh) for writing in writings])
        groups = [group for group, _ in (*resumed, *fresh)]
        decided = self._decided(groups, writer)
        self._in_flight = tuple(
            PausedGroup(group.prompt, (*group.finished, *group.paused))
            for group in groups
            if group.paused
        )
        return self._finalise(decided, writer, in_flight_before, version, last)

    def _proposed(
        self, prompts: Sequence[Prompt], counts: Sequence[int], writer: RoundWriter
    ) -> list[tuple[OpenGroup, list[Writing]]]:
        """Open a group for each prompt that gets answers, with the generator's request for it."""
        longest = self.generate.sampling.max_new_tokens
        groups = [OpenGroup(prompt) for prompt in prompts]
        return [
            (group, [Writing(group, writer.beside_resumed(request), longest)])
            for group, request in zip(groups, self._requests(prompts, counts), strict=True)
            if request.samples
        ]

    def _requests(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        requests = self.generate.propose(prompts, counts)
        if len(requests) != len(prompts):
            raise CodeError(
                f"{type(self.generate).__name__} makes {len(requests)} requests for {len(prompts)} "
                "prompts; make one for each"
            )
        return requests

    def _decided(
        self, groups: Sequence[OpenGroup], writer: RoundWriter
    ) -> list[tuple[Group, Decision]]:
        """Judge the groups without a paused answer, and have the controller decide about each."""
        decided: dict[int, tuple[Group, Decision]] = {}
        open_groups = dict(enumerate(groups))
        judged: dict[int, Group] = {}
        undecided = list(open_groups)
        while undecided:
            undecided = [
                index
                for index in undecided
                if open_groups[index].finished and not open_groups[index].paused
            ]
            self._judge({index: open_groups[index] for index in undecided}, judged)
            further: list[Writing] = []
            for index in undecided:
                decision = writer.count(self.control.decide(judged[index]))
                if decision.action != "resample":
                    decided[index] = judged[index], decision
                    continue
                group = open_groups[index]
                (request,) = self._requests([group.prompt], [decision.count])
                further.append(writer.resample(group, request, decision.count))
            writer.write(further)
            undecided = [index for index in undecided if index not in decided]
        return [decided[index] for index in sorted(decided)]

    def _judge(self, groups: Mapping[int, OpenGroup], judged: dict[int, Group]) -> None:
        """Judge the answers that have no verdict yet; add them to the groups in `judged`."""
        known = {index: judged[index].answers if index in judged else () for index in groups}
        new = {
            index: group.finished[len(known[index]) :]
            for index, group in groups.items()
            if len(group.finished) > len(known[index])
        }
        if not new:
            return
        results = self.filter.judge([groups[index].prompt for index in new], list(new.values()))
        for index, group in zip(new, results, strict=True):
            judged[index] = replace(group, answers=(*known[index], *group.answers))

    def _finalise(
        self,
        decided: Sequence[tuple[Group, Decision]],
        writer: RoundWriter,
        in_flight_before: int,
        version: int,
        last: bool,
    ) -> RolloutRound:
        new_groups = [group for group, _ in decided]
        by_action = {
            action: [group for group, decision in decided if decision.action == action]
            for action in ("store", "train")
        }
        # Taken before `put`, so that a group stored in this round waits for a later one.
        replayed = self.replay.take()
        self._refuse_held_out([group.prompt for group in replayed])
        trained = [*replayed, *by_action["train"]]
        rows, dropped = self.filter.rows(trained)
        dropped += [
            DroppedAnswer(answer, decision.reason)
            for group, decision in decided
            if decision.action == "drop"
            for answer in group.answers
        ]
        discarded = self._put(by_action["store"])
        self._stored_tokens += (
            sum(group.tokens for group in by_action["store"])
            - sum(group.tokens for group in replayed)
            - sum(group.tokens for group, _ in discarded)
        )
        telemetry = account_for_round(
            new_groups,
            replayed,
            by_action["store"],
            rows,
            dropped,
            version,
            WrittenTokens(
                writer.generated,
                writer.read,
                sum(trajectory.own_length for trajectory in writer.pruned),
                _tokens(self._in_flight) - in_flight_before,
                discarded,
                dict(writer.decisions),
            ),
        )
        if last:
            telemetry = telemetry.without_store(
                self._stored_tokens + _tokens(self._in_flight), STAGE_ENDED
            )
            self._in_flight, self._stored_tokens = (), 0
        return RolloutRound(rows, trained, new_groups, telemetry)

    def _put(self, groups: Sequence[Group]) -> list[tuple[Group, str]]:
        """Store groups; return those that the replay store discards."""
        discarded = list(self.replay.put(groups) or ())
        if groups and not isinstance(self.replay, Stateful):
            raise CodeError(
                f"{type(self.replay).__name__} stores groups but has no state() and load(), so a "
                "resumed run would lose them; see docs/add-a-method.md"
            )
        return discarded

    def _budget(self, problems: int) -> Budget:
        """The budget of a round, with what the answers in flight may still cost."""
        if isinstance(self.control, BudgetingController):
            budget = self.control.budget(problems, self.generate)
        else:
            answers = problems * self.generate.per_problem
            budget = Budget(answers, answers * self.generate.sampling.max_new_tokens)
        longest = self.generate.sampling.max_new_tokens
        paused = [trajectory for group in self._in_flight for trajectory in group.trajectories]
        budget.trajectories += len(paused)
        budget.tokens += sum(longest - trajectory.length for trajectory in paused)
        return budget

    def _refuse_held_out(self, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            if prompt.question.problem.id in self.held_out:
                raise ValueError(
                    f"Problem {prompt.question.problem.id} is held out for evaluation and "
                    "cannot be trained on."
                )


def _copied(state: StoredState) -> StoredState:
    """A state that later rounds do not change; judged groups are immutable and stay themselves."""
    return StoredState(copy.deepcopy(dict(state.values)), tuple(state.groups))


def _tokens(groups: Sequence[PausedGroup]) -> int:
    return sum(group.tokens for group in groups)
