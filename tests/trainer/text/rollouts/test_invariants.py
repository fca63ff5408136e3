"""What every round keeps, whatever the plug-ins decide.

Generators, controllers and replays decide at random here; the engine is a toy whose answers follow
from the noise. The numbers in the names of the checks are those of the list in `docs/rollouts.md`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import ToyEngine, ToyFilter, pipeline, prompts
from trainer.spec import PlainGenerate
from trainer.spec.sampling import Sampling
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.pipeline import RolloutPipeline, RolloutRound
from trainer.text.rollouts.protocols import Generator, StoredState
from trainer.text.rollouts.records import (
    Decision,
    DroppedAnswer,
    Group,
    Progress,
    Prompt,
    SampleRequest,
    TrainRow,
    Trajectory,
    TrajectoryEvent,
)
from trainer.text.rollouts.stored_rollouts import decode, encode

ROUNDS = settings(deadline=None, max_examples=20)
NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5)
LONGEST, PER_PROBLEM, HINT = 12, 3, 99


@dataclass(frozen=True)
class RandomGenerator(PlainGenerator):
    """Answers stop at random allowances; some problems are asked with a hint before them."""

    seed: int = 0

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        random = Random(f"{self.seed} {[prompt.question.text for prompt in prompts]} {counts}")
        return [
            replace(
                request,
                prompt=(HINT, *request.prompt) if random.random() < 0.3 else request.prompt,
                allowance=random.choice([None, 1, 3, 5]),
            )
            for request in super().propose(prompts, counts)
        ]


@dataclass
class RandomController:
    """Decides at random, within the budget; its state is the number of its decisions."""

    seed: int
    decisions: int = 0
    # For the checks: of the present round, and in `seen` of all.
    budgets: Budget = field(default_factory=lambda: Budget(0, 0))
    paused: list[Trajectory] = field(default_factory=list)
    seen: dict[tuple[str, int, int], Trajectory] = field(default_factory=dict)

    def budget(self, problems: int, generator: Generator) -> Budget:
        answers = 2 * problems * generator.per_problem
        return Budget(answers, answers * generator.sampling.max_new_tokens)

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        self.budgets, self.paused = budget, []
        counts = [self._random().randint(0, generator.per_problem) for _ in prompts]
        budget.reserve(sum(counts), sum(counts) * generator.sampling.max_new_tokens)
        return counts

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        random, trajectory = self._random(), event.trajectory
        self._check_prefix(trajectory)
        actions = ["continue"] * 5 + ["pause", "prune"]
        most = trajectory.length - event.finished
        if most > 0 and self._has_room():
            actions.append("branch")
        action = random.choice(actions)
        if action == "pause":
            self.paused.append(trajectory)
        if action == "branch":
            return Decision("branch", "at random", 1, random.randint(1, most))
        return Decision(action, "at random")  # type: ignore[arg-type]

    def decide(self, group: Group) -> Decision:
        random = self._random()
        actions = ["train", "train", "store", "drop", *(["resample"] if self._has_room() else [])]
        return Decision(random.choice(actions), "at random", 1)  # type: ignore[arg-type]

    def state(self) -> StoredState:
        return StoredState({"decisions": self.decisions})

    def load(self, state: StoredState) -> None:
        self.decisions = state.values.get("decisions", 0)

    def _random(self) -> Random:
        self.decisions += 1
        return Random(f"{self.seed} {self.decisions}")

    def _has_room(self) -> bool:
        left = self.budgets.left()
        return left.trajectories > 0 and left.tokens >= LONGEST

    def _check_prefix(self, trajectory: Trajectory) -> None:
        """6: branches have the tokens and the numbers of what they branch from."""
        version = trajectory.versions[0]
        self.seen[trajectory.problem, trajectory.sample, version] = trajectory
        if trajectory.parent is None:
            assert not trajectory.inherited
            return
        parent, shared = (
            self.seen[trajectory.problem, trajectory.parent, version],
            trajectory.inherited,
        )
        assert trajectory.ids[:shared] == parent.ids[:shared]
        assert (trajectory.sampled_logprobs[:shared] == parent.sampled_logprobs[:shared]).all()


@dataclass
class RandomReplay:
    """Holds three groups at most and returns some of them at random."""

    seed: int
    rounds: int = 0
    groups: list[Group] = field(default_factory=list)

    def take(self) -> list[Group]:
        self.rounds += 1
        count = Random(f"{self.seed} {self.rounds}").randint(0, len(self.groups))
        taken, self.groups = self.groups[:count], self.groups[count:]
        return taken

    def put(self, groups: Sequence[Group]) -> list[tuple[Group, str]]:
        self.groups += groups
        left_out = self.groups[:-3]
        self.groups = self.groups[-3:]
        return [(group, "the store is full") for group in left_out]

    def state(self) -> StoredState:
        return StoredState({"rounds": self.rounds}, self.groups)

    def load(self, state: StoredState) -> None:
        self.rounds, self.groups = state.values.get("rounds", 0), list(state.groups)


@dataclass
class CountingEngine(ToyEngine):
    """Counts the tokens that it writes."""

    written: int = 0
    longest: int = 0

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        answers = super().write(requests, sampling, noise, progress)
        self.written += sum(answer.length for answer in answers)
        for request in requests:
            # A problem's prompt has three ids, a hint one more; what follows them is a prefix.
            prefix = len(request.prompt) - 3 - (request.prompt[0] == HINT)
            self.longest = max(self.longest, prefix + sampling.max_new_tokens)
        return answers


@dataclass
class RecordingFilter(ToyFilter):
    judged: list[int] = field(default_factory=list)

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        self.judged += [id(trajectory) for group in trajectories for trajectory in group]
        return super().judge(prompts, trajectories)


def asked(names: Sequence[str]) -> list[Prompt]:
    """Prompts of which a problem that comes twice has the same."""
    by_name = dict(zip("abcd", prompts(*"abcd"), strict=True))
    return [by_name[name] for name in names]


def random_pipeline(seed: int) -> RolloutPipeline:
    sampling = Sampling(max_new_tokens=LONGEST)
    return pipeline(
        engine=CountingEngine(),
        generate=RandomGenerator(
            PlainGenerate(per_problem=PER_PROBLEM, sampling=sampling), seed=seed
        ),
        filter=RecordingFilter(advantages=True),
        control=RandomController(seed),
        replay=RandomReplay(seed),
        held_out=frozenset({"held out"}),
    )


def check_row(row: TrainRow) -> None:
    """1 and 11: columns of one length, and none of another context than that of learning."""
    for column in (
        row.kinds,
        row.coefficients,
        row.advantages,
        row.anchor_logprobs,
        row.behaviour_logprobs,
    ):
        assert column is None or len(column) == len(row.answer.ids)
    assert row.answer.prompt[0] != HINT
    if row.answer.sampled_logprobs is None:
        assert row.anchor_logprobs is None and row.behaviour_logprobs is None
    assert len(row.answer.ids) <= LONGEST


def check_tokens(done: RolloutRound, written: int) -> None:
    """3: every token that the engine wrote is somewhere."""
    counts = done.telemetry
    assert counts.generated == written
    assert counts.generated == counts.consumed + counts.buffered + counts.pruned + sum(
        counts.dropped.values()
    )
    assert set(counts.dropped) <= {"at random", "the store is full", "the stage ended"}


@ROUNDS
@given(NAMES, st.integers(0, 10_000))
def test_rounds_of_random_decisions_keep_every_invariant(names: list[str], seed: int) -> None:
    rounds = random_pipeline(seed)
    engine, control, judge = rounds.engine, rounds.control, rounds.filter
    assert isinstance(engine, CountingEngine) and isinstance(control, RandomController)
    assert isinstance(judge, RecordingFilter)
    used: list[tuple[object, ...]] = []
    buffered = 0
    for version in range(4):
        written, judged = engine.written, len(judge.judged)
        done = rounds.run_round(asked(names), Noise(seed, version), version, last=version == 3)
        for row in done.rows:
            check_row(row)
        check_tokens(done, engine.written - written)
        # 2
        used += [(row.answer.problem.id, row.answer.sample, row.versions) for row in done.rows]
        # 5
        assert not set(map(id, control.paused)) & set(judge.judged[judged:])
        # 8
        budget = control.budgets
        assert budget.generated.tokens <= budget.tokens
        assert budget.generated.trajectories <= budget.trajectories
        assert engine.written - written <= budget.tokens
        buffered += done.telemetry.buffered
    assert len(used) == len(set(used))
    # 4
    assert engine.longest <= LONGEST
    assert buffered == 0, "after the last round of a stage nothing stays stored"


@ROUNDS
@given(NAMES, st.integers(0, 10_000), st.integers(1, 3))
@example(["b", "b", "c", "b", "b"], 3, 3)
def test_a_pipeline_restored_from_its_checkpoint_makes_the_same_rounds(
    names: list[str], seed: int, resumed_at: int
) -> None:
    """9: the store, what is paused and the state of the plug-ins round-trip through JSON."""
    whole, resumed = random_pipeline(seed), random_pipeline(seed)
    questions = {prompt.question.problem.id: prompt.question for prompt in asked(names)}
    for version in range(4):
        if version == resumed_at:
            values, tensors = encode(whole.state())
            resumed.load(decode(json.loads(json.dumps(values)), tensors, questions))
            # Answers of earlier rounds, from which later ones may branch.
            assert isinstance(resumed.control, RandomController)
            assert isinstance(whole.control, RandomController)
            resumed.control.seen.update(whole.control.seen)
        if version >= resumed_at:
            again = resumed.run_round(asked(names), Noise(seed, version), version)
        done = whole.run_round(asked(names), Noise(seed, version), version)
        if version >= resumed_at:
            assert again.telemetry == done.telemetry
            assert [written_out(row) for row in again.rows] == [
                written_out(row) for row in done.rows
            ]


def written_out(row: TrainRow) -> tuple[object, ...]:
    columns = row.anchor_logprobs, row.advantages, row.answer.entropies
    return (
        row.answer.problem.id,
        row.answer.sample,
        row.answer.ids,
        row.answer.verdict,
        row.owner,
        row.weight,
        row.versions,
        *(None if column is None else column.tobytes() for column in columns),
    )


class Nothing(RandomController):
    """The random controller at its null setting."""

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        return FixedController().plan(prompts, generator, budget)

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        return Decision("continue")

    def decide(self, group: Group) -> Decision:
        return Decision("train")


@ROUNDS
@given(NAMES, st.integers(0, 10_000))
def test_null_settings_are_plain_sampling(names: list[str], seed: int) -> None:
    """7"""
    null = pipeline(control=Nothing(seed), replay=RandomReplay(seed))
    for version in range(2):
        noise = Noise(seed, version)
        done = null.run_round(asked(names), noise, version)
        expected = pipeline().run_round(asked(names), noise, version)
        assert done.telemetry == expected.telemetry
        assert [written_out(row) for row in done.rows] == [
            written_out(row) for row in expected.rows
        ]


def test_held_out_problems_are_in_no_store() -> None:
    """10"""
    rounds = pipeline(control=Storing(), replay=RandomReplay(0))
    rounds.run_round(prompts("a", "b"), Noise(0, 0), 0)
    with pytest.raises(ValueError, match="Problem a is held out"):
        pipeline(held_out=frozenset("a"), replay=RandomReplay(0)).load(rounds.state())


class Storing(FixedController):
    def decide(self, group: Group) -> Decision:
        return Decision("store", "for later")


@dataclass
class RunsOut(ToyFilter):
    """Memory runs out when it makes rows for the first time."""

    failed: bool = False

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        if not self.failed:
            self.failed = True
            raise MemoryError
        return super().rows(groups)


@ROUNDS
@given(NAMES, st.integers(0, 10_000))
def test_a_round_that_is_repeated_begins_with_the_same_state(names: list[str], seed: int) -> None:
    whole, failing = random_pipeline(seed), random_pipeline(seed)
    for rounds in (whole, failing):
        rounds.run_round(asked(names), Noise(seed, 0), 0)
    expected = whole.run_round(asked(names), Noise(seed, 1), 1)
    failing.filter = RunsOut(advantages=True)
    with pytest.raises(MemoryError):
        failing.run_round(asked(names), Noise(seed, 1), 1)
    assert failing.run_round(asked(names), Noise(seed, 1), 1).telemetry == expected.telemetry


@dataclass(frozen=True)
class Deciding(FixedController):
    of_answers: Decision = Decision("continue")  # noqa: RUF009
    of_groups: Decision = Decision("train")  # noqa: RUF009

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        return self.of_answers

    def decide(self, group: Group) -> Decision:
        return self.of_groups


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        (Deciding(of_answers=Decision("store")), "decides to store an answer; the decisions are"),
        (Deciding(of_groups=Decision("pause")), "decides to pause a group; the decisions are"),
        (Deciding(of_answers=Decision("branch", "", 1, 50)), "branches 1 answers after 50 of"),
        (Deciding(of_groups=Decision("resample")), "resamples 0 answers"),
    ],
)
def test_a_decision_without_meaning_is_refused(control: Deciding, sentence: str) -> None:
    with pytest.raises(CodeError, match=sentence):
        pipeline(control=control).run_round(prompts("a"), Noise(0, 0), 0)


def test_a_replay_that_stores_but_has_no_state_is_refused() -> None:
    class Forgetful:
        def take(self) -> list[Group]:
            return []

        def put(self, groups: Sequence[Group]) -> None:
            pass

    with pytest.raises(CodeError, match="Forgetful stores groups but has no state"):
        pipeline(control=Storing(), replay=Forgetful()).run_round(prompts("a"), Noise(0, 0), 0)


def test_a_state_that_json_does_not_hold_is_refused() -> None:
    rounds = pipeline(replay=RandomReplay(0), control=RandomController(0))
    assert isinstance(rounds.control, RandomController)
    rounds.control.decisions = {1, 2}  # type: ignore[assignment]
    with pytest.raises(CodeError, match=r"The state of rollouts.control cannot be stored: .* set"):
        encode(rounds.state())
