"""Every round: nothing is lost, used twice or spent beyond the budget.

The plainest plug-ins change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import ToyEngine, ToyFilter, pipeline, prompts
from tests.trainer.text.tiny import language_model
from trainer.spec import NumericVerifier, PlainGenerate
from trainer.spec.sampling import Sampling
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.budget import Budget, BudgetExceeded
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.filters.verifier import VerdictFilter
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.protocols import StoredState
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DIVERGENCE, Decision, Group, Prompt, SampleRequest
from trainer.text.rollouts.replays.none import EmptyReplay
from trainer.text.rollouts.telemetry import ConservationError
from trainer.text.verifiers import Verifier

NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8)
ROUNDS = settings(deadline=None, max_examples=60)


@dataclass
class Shelf:
    """A replay of one round's groups."""

    groups: list[Group]

    def take(self) -> list[Group]:
        groups, self.groups = self.groups, []
        return groups

    def put(self, groups: Sequence[Group]) -> None:
        self.groups += groups

    def state(self) -> StoredState:
        return StoredState(groups=self.groups)

    def load(self, state: StoredState) -> None:
        self.groups = list(state.groups)


@dataclass(frozen=True)
class Sorting(FixedController):
    """Drops groups that are all wrong, stores those that are all right and trains on the others."""

    def decide(self, group: Group) -> Decision:
        if not any(group.verdicts):
            return Decision("drop", "all wrong")
        return Decision("store") if all(group.verdicts) else Decision("train")


@ROUNDS
@given(NAMES, st.integers(1, 5), st.integers(1, 15), st.integers(0, 3))
def test_every_token_that_was_generated_is_accounted_for(
    names: list[str], count: int, longest: int, seed: int
) -> None:
    shelf = Shelf([])
    rounds = pipeline(count, longest, control=Sorting(), replay=shelf)
    for version in range(3):
        done = rounds.run_round(prompts(*names), Noise(seed, version), version)
        messages = done.telemetry
        assert messages.generated == sum(len(answer.ids) for answer in done.answers)
        assert messages.generated == messages.consumed + messages.buffered + messages.pruned + sum(
            messages.dropped.values()
        )
        assert messages.consumed == sum(len(row.answer.ids) for row in done.rows)
        assert set(messages.dropped) <= {"all wrong"}


@ROUNDS
@given(NAMES, st.integers(1, 5), st.booleans())
def test_the_columns_of_a_row_have_its_length_and_siblings_count_its_problem(
    names: list[str], count: int, advantages: bool
) -> None:
    done = pipeline(count, filter=ToyFilter(advantages)).run_round(prompts(*names), Noise(0, 0), 0)
    owners = Counter(row.owner for row in done.rows)
    assert len(done.rows) == len(names) * count
    for row in done.rows:
        columns = [
            row.kinds,
            row.coefficients,
            row.anchor_logprobs,
            row.behaviour_logprobs,
            *([row.advantages] if advantages else []),
        ]
        assert {len(column) for column in columns if column is not None} == {len(row.answer.ids)}
        assert all(column is not None for column in columns)
        assert row.siblings == owners[row.owner] == count
        assert row.answer.problem.id == names[row.owner] and row.weight == row.owner


@ROUNDS
@given(NAMES, st.integers(1, 4))
def test_no_answer_is_used_twice_and_a_problem_that_comes_twice_gets_other_answers(
    names: list[str], count: int
) -> None:
    shelf = Shelf([])
    rounds = pipeline(count, control=Sorting(), replay=shelf)
    used: list[tuple[str, int, tuple[int, ...]]] = []
    for version in range(4):
        done = rounds.run_round(prompts(*names), Noise(5, version), version)
        used += [(row.answer.problem.id, row.answer.sample, row.versions) for row in done.rows]
    assert len(used) == len(set(used))


def test_training_twice_on_an_answer_is_refused() -> None:
    rounds = pipeline()
    group = rounds.run_round(prompts("a"), Noise(0, 0), 0).new_groups[0]
    with pytest.raises(ConservationError, match="Answer 0 to a comes twice"):
        replace(rounds, replay=Shelf([group])).run_round(prompts("a"), Noise(0, 0), 0)


def test_an_answer_that_a_filter_loses_is_noticed() -> None:
    with pytest.raises(ConservationError, match="Answer 0 to a was lost in the filter"):
        pipeline(filter=ToyFilter(lose=1)).run_round(prompts("a", "b"), Noise(0, 0), 0)


def test_rows_know_how_many_updates_ago_they_were_sampled() -> None:
    old = pipeline(2).run_round(prompts("a"), Noise(0, 3), 3).new_groups
    done = pipeline(2, replay=Shelf(list(old))).run_round(prompts("b"), Noise(0, 7), 7)
    assert [row.versions for row in done.rows] == [(3,), (3,), (7,), (7,)]
    assert done.telemetry.staleness == 2.0


@ROUNDS
@given(NAMES, st.integers(1, 5), st.integers(0, 60), st.integers(0, 400))
def test_a_budget_is_never_overdrawn(
    names: list[str], count: int, trajectories: int, tokens: int
) -> None:
    budget, rounds = Budget(trajectories, tokens), pipeline(count)
    engine = rounds.engine
    assert isinstance(engine, ToyEngine)
    for version in range(4):
        before = len(engine.requests)
        try:
            rounds.run_round(prompts(*names), Noise(1, version), version, budget)
        except BudgetExceeded:
            assert len(engine.requests) == before
            assert (
                budget.generated.trajectories + len(names) * count > trajectories
                or budget.generated.tokens + len(names) * count * 12 > tokens
            )
        assert budget.generated.trajectories <= trajectories and budget.generated.tokens <= tokens


def test_a_refused_round_says_what_it_wanted_and_what_is_left() -> None:
    with pytest.raises(BudgetExceeded, match="up to 6 trajectories, but 5 of its 5 are left"):
        pipeline(3).run_round(prompts("a", "b"), Noise(0, 0), 0, Budget(5, 10_000))


def test_an_answer_beyond_what_was_reserved_is_refused() -> None:
    budget = Budget(2, 20)
    budget.reserve(1, 10)
    with pytest.raises(
        BudgetExceeded, match="An answer of 11 tokens was written, for which 10 were allowed"
    ):
        budget.spend(10, 11)


def test_a_held_out_problem_is_neither_sampled_nor_stored() -> None:
    rounds = pipeline(held_out=frozenset({"b"}), control=Sorting(), replay=Shelf([]))
    with pytest.raises(ValueError, match="Problem b is held out"):
        rounds.run_round(prompts("a", "b"), Noise(0, 0), 0)
    assert isinstance(rounds.engine, ToyEngine) and not rounds.engine.requests


def test_storing_groups_where_nothing_is_kept_is_refused() -> None:
    @dataclass(frozen=True)
    class Later(FixedController):
        def decide(self, group: Group) -> Decision:
            return Decision("store")

    with pytest.raises(ValueError, match="stores 1 groups"):
        pipeline(control=Later()).run_round(prompts("a"), Noise(0, 0), 0)


def test_an_answer_learnt_after_another_prompt_than_it_was_sampled_with_has_no_log_probs() -> None:
    @dataclass(frozen=True)
    class Hinting(PlainGenerator):
        def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
            return [
                replace(request, prompt=(99, *request.prompt))
                for request in super().propose(prompts, counts)
            ]

    rounds = pipeline(
        generate=Hinting(PlainGenerate(per_problem=2, sampling=Sampling(max_new_tokens=5)))
    )
    for row in rounds.run_round(prompts("a", "b"), Noise(0, 0), 0).rows:
        assert row.answer.prompt == (7, 8, 3 + row.owner)
        assert (
            row.anchor_logprobs is None
            and row.behaviour_logprobs is None
            and row.answer.entropies is None
        )


def test_a_row_with_a_column_of_another_length_cannot_be_made() -> None:
    row = pipeline().run_round(prompts("a"), Noise(0, 0), 0).rows[0]
    with pytest.raises(ValueError, match="tokens, but 99 advantages"):
        replace(row, advantages=np.zeros(99, np.float32))
    with pytest.raises(ValueError, match="is edited"):
        replace(row, edited=True)


@pytest.fixture(scope="module")
def sampler() -> Iterator[SamplerAndJudge]:
    with Verifier(NumericVerifier()) as verifier:
        yield SamplerAndJudge(verifier, "{question}", rows=lambda: 5)


def judged(answer: Answer) -> tuple[object, ...]:
    assert answer.logprobs is not None and answer.entropies is not None
    numbers = answer.logprobs.tobytes(), answer.entropies.tobytes()
    return (
        answer.problem.id,
        answer.sample,
        answer.prompt,
        answer.ids,
        answer.truncated,
        answer.verdict,
        answer.text,
        numbers,
    )


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.sampled_from(["1+1=", "2+2=", "3+4="]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_with_the_plainest_plug_ins_a_round_is_plain_sampling_bit_for_bit(
    sampler: SamplerAndJudge, questions: list[str], count: int, seed: int
) -> None:
    model = replace(language_model(), eos_ids=(1, 5, 9, 20))
    sampling, noise = Sampling(max_new_tokens=8), Noise(seed, 3)
    asked_questions = sampler.questions(model, [Problem(text, text, "2") for text in questions], 8)
    turns = [questions[:index].count(text) for index, text in enumerate(questions)]
    plain = sampler.sample_answers(
        model,
        asked_questions,
        [tuple(range(turn * count, (turn + 1) * count)) for turn in turns],
        sampling,
        noise,
    )
    rounds = RolloutPipeline(
        InProcessEngine(model, rows=lambda: 5),
        PlainGenerator(PlainGenerate(per_problem=count, sampling=sampling)),
        VerdictFilter(sampler, model, DIVERGENCE),
        FixedController(),
        EmptyReplay(),
    )
    done = rounds.run_round([Prompt(question) for question in asked_questions], noise, version=3)
    assert (
        [judged(row.answer) for row in done.rows]
        == [judged(answer) for answer in plain]
        == [judged(answer) for answer in done.answers]
    )
    for row in done.rows:
        assert (
            row.anchor_logprobs is row.answer.sampled_logprobs
            and (row.kinds == DIVERGENCE).all()
            and (row.coefficients == 1).all()
        )
        assert row.versions == (3,) and not row.edited


def test_verdicts_of_a_problem_become_its_advantages() -> None:
    done = pipeline(6, filter=ToyFilter(advantages=True)).run_round(
        prompts("a", "b", "c"), Noise(2, 0), 0
    )
    for owner in range(3):
        rows = [row for row in done.rows if row.owner == owner and row.advantages is not None]
        rewards = np.array(
            [np.nan if row.answer.verdict is None else float(row.answer.verdict) for row in rows]
        )
        deviation = np.nanstd(rewards)
        expected = (
            np.nan_to_num((rewards - np.nanmean(rewards)) / deviation) if deviation else np.zeros(6)
        )
        for row, advantage in zip(rows, expected, strict=True):
            assert row.advantages is not None
            np.testing.assert_allclose(row.advantages, advantage, atol=1e-6)
