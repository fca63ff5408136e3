"""A controller watches tokens and pauses, prunes and branches answers while they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from tests.trainer.text.rollouts.rounds import ToyFilter, pipeline, prompts
from tests.trainer.text.rollouts.test_sampling import many_ends
from trainer.spec import PlainGenerate
from trainer.spec.sampling import Sampling
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.pipeline import RolloutPipeline, RolloutRound
from trainer.text.rollouts.protocols import Generator
from trainer.text.rollouts.records import (
    AnswerInProgress,
    Decision,
    Group,
    Prompt,
    Trajectory,
)
from trainer.text.rollouts.stored_rollouts import decode, encode
from trainer.text.rollouts.streaming import Measures, StepEvents, UnableEngine

LONGEST = 16


@dataclass(frozen=True)
class Watcher(FixedController):
    """Decides nothing; `seen` are the events."""

    every: int = 1
    measures: Measures = field(default_factory=Measures)
    seen: list[StepEvents] = field(default_factory=list)

    def budget(self, problems: int, generator: Generator) -> Budget:
        return Budget(1000, 1000 * generator.sampling.max_new_tokens)

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        self.seen.append(events)
        return {}


@dataclass(frozen=True)
class PausingAfterFour(Watcher):
    """Every answer may have four tokens in a round."""

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        return {
            handle: Decision("pause", "four tokens")
            for handle, answer in answers.items()
            if answer.length - answer.start >= 4
        }


@dataclass(frozen=True)
class BranchingAtFive(Watcher):
    """Branches every first answer to a problem at its fifth token, to its two likeliest ones."""

    measures: Measures = field(default_factory=lambda: Measures(top=2))

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        self.seen.append(events)
        assert events.top_ids is not None
        return {
            handle: Decision("branch", "fifth token", 2, 4, tuple(ids.tolist()))
            for handle, ids, position in zip(
                events.handles.tolist(), events.top_ids, events.positions, strict=True
            )
            if position == 4 and handle in answers and answers[handle].sample == 0
        }


@dataclass(frozen=True)
class AtRandom(Watcher):
    """Pauses, prunes and branches at random."""

    seed: int = 0

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        self.seen.append(events)
        random = Random(f"{self.seed} {len(self.seen)}")
        return {
            handle: self._decision(random, answer)
            for handle, answer in answers.items()
            if random.random() < 0.1
        }

    def _decision(self, random: Random, answer: AnswerInProgress) -> Decision:
        action = random.choice(["pause", "prune", "branch"] if answer.length else ["pause"])
        return Decision(action, "at random", 1, random.randint(1, max(1, answer.length)))  # type: ignore[arg-type]


@dataclass
class KeepingFilter(ToyFilter):
    trajectories: list[Trajectory] = field(default_factory=list)

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        self.trajectories += [answer for answers in trajectories for answer in answers]
        return super().judge(prompts, trajectories)


def rounds(control: FixedController, rows: int = 7, shape: str = "qwen2") -> RolloutPipeline:
    return pipeline(
        engine=InProcessEngine(many_ends(shape), lambda: rows),
        generate=PlainGenerator(
            PlainGenerate(per_problem=3, sampling=Sampling(max_new_tokens=LONGEST))
        ),
        filter=KeepingFilter(),
        control=control,
    )


def written(done: RolloutRound) -> list[tuple[object, ...]]:
    return [
        (answer.problem.id, answer.sample, answer.ids, answer.versions) for answer in done.answers
    ]


def test_a_watcher_that_decides_nothing_changes_no_answer_and_sees_every_token() -> None:
    watcher = Watcher(every=3, measures=Measures(entropy=True))
    plain, watched = rounds(FixedController()), rounds(watcher)
    first = plain.run_round(prompts(*"abcd"), Noise(0, 0), 0)
    second = watched.run_round(prompts(*"abcd"), Noise(0, 0), 0)
    assert written(first) == written(second)
    for answer, other in zip(first.answers, second.answers, strict=True):
        np.testing.assert_array_equal(answer.logprobs, other.logprobs)
    assert sum(len(events.handles) for events in watcher.seen) == second.telemetry.generated
    assert all(events.entropies is not None for events in watcher.seen)


def test_answers_that_are_paused_again_and_again_are_the_uninterrupted_ones() -> None:
    # The noise is that of one round throughout, and the weights do not change.
    whole = rounds(FixedController()).run_round(prompts(*"abc"), Noise(0, 0), 0)
    pausing = rounds(PausingAfterFour())
    done = [pausing.run_round(prompts(*"abc"), Noise(0, 0), 0)]
    while pausing.state().in_flight:
        done.append(pausing.run_round([], Noise(0, 0), 0))
    assert len(done) > 2
    assert done[0].telemetry.decisions["pause: four tokens"] > 0
    assert {(a.problem.id, a.sample): a.ids for r in done for a in r.answers} == {
        (answer.problem.id, answer.sample): answer.ids for answer in whole.answers
    }
    assert sum(one.telemetry.generated for one in done) == whole.telemetry.generated


def test_branches_at_a_token_have_the_likeliest_ids_there() -> None:
    control = BranchingAtFive()
    branching = rounds(control, rows=40)
    done = branching.run_round(prompts(*"abcdefgh"), Noise(0, 0), 0)
    assert isinstance(branching.filter, KeepingFilter)
    branches = [one for one in branching.filter.trajectories if one.parent is not None]
    assert len(branches) == done.telemetry.decisions["branch: fifth token"] * 2 > 2
    by_name = {(one.problem, one.sample): one for one in branching.filter.trajectories}
    for branch in branches:
        parent = by_name[branch.problem, 0]
        assert branch.inherited == 4 and branch.ids[:4] == parent.ids[:4]
        assert branch.segments[-2 if len(branch.ids) > 5 else -1].source == "forced"
    assert done.telemetry.generated == sum(
        trajectory.own_length for trajectory in branching.filter.trajectories
    )


@pytest.mark.parametrize("seed", range(6))
def test_random_decisions_lose_no_token_and_survive_a_checkpoint(seed: int) -> None:
    whole, interrupted = rounds(AtRandom(seed=seed, every=2)), rounds(AtRandom(seed=seed, every=2))
    for number in range(3):
        done = whole.run_round(prompts(*"abc"), Noise(seed, number), number, last=number == 2)
        again = interrupted.run_round(
            prompts(*"abc"), Noise(seed, number), number, last=number == 2
        )
        assert written(done) == written(again)
        counts = done.telemetry
        assert counts.generated == counts.consumed + counts.buffered + counts.pruned + sum(
            counts.dropped.values()
        )
        # As if killed here: a new pipeline has what the checkpoint has, and nothing else.
        values, tensors = encode(interrupted.state())
        seen = interrupted.control.seen  # type: ignore[attr-defined]
        interrupted = rounds(AtRandom(seed=seed, every=2, seen=list(seen)))
        questions = {prompt.question.problem.id: prompt.question for prompt in prompts(*"abc")}
        interrupted.load(decode(values, tensors, questions))


def test_new_answers_to_a_problem_have_other_names_than_those_that_are_resumed() -> None:
    pausing = rounds(PausingAfterFour())
    pausing.run_round(prompts("a", "b"), Noise(0, 0), 0)
    pausing.run_round(prompts("a", "b"), Noise(0, 0), 0)
    names = [
        (answer.problem, answer.sample)
        for group in pausing.state().in_flight
        for answer in group.trajectories
    ]
    assert len(set(names)) == len(names) and max(sample for _, sample in names) > 2


def test_a_decision_about_an_answer_that_is_not_written_is_refused() -> None:
    class Wrong(Watcher):
        def watch(
            self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
        ) -> Mapping[int, Decision]:
            return {77: Decision("prune")}

    with pytest.raises(CodeError, match="Wrong decides about answer 77, which is not being"):
        rounds(Wrong()).run_round(prompts("a"), Noise(0, 0), 0)


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (Decision("branch", "", 1, 9), "branches 1 answers after 9 of 1 tokens"),
        (Decision("branch", "", 2, 1, (4,)), "forces 1 tokens for 2 branches"),
        (Decision("store"), "decides to store an answer"),
    ],
)
def test_a_decision_without_meaning_is_refused(decision: Decision, sentence: str) -> None:
    class Wrong(Watcher):
        def watch(
            self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
        ) -> Mapping[int, Decision]:
            return {next(iter(answers)): decision}

    with pytest.raises(CodeError, match=sentence):
        rounds(Wrong(), rows=20).run_round(prompts("a"), Noise(0, 0), 0)


def test_an_engine_that_writes_whole_answers_cannot_be_watched() -> None:
    with pytest.raises(UnableEngine, match="ToyEngine writes whole answers and cannot report"):
        pipeline(control=Watcher()).run_round(prompts("a"), Noise(0, 0), 0)
