"""Pairs are made, left out with reasons, and trained on as units."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import spec
from trainer.engine.loop import Runtime
from trainer.events import EventLog
from trainer.spec import DPO, RunSpec
from trainer.spec.operation import Checkpoints
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import Prompt, TrainRow
from trainer.text.training.minibatches import minibatch
from trainer.text.training.pair_loss import PairLoss, pair_micro_batches
from trainer.text.training.pair_update import compute_pair_gradients, pair_normaliser
from trainer.text.training.preference_pairs import (
    Pair,
    describe_pairs,
    pair_rows,
    pairs_of,
    units_by_length,
)
from trainer.text.training.teacher_states import TeacherStates
from trainer.text.training.update import GROUP, TrainRound

WEIGHTS = [0.5, 1.0, 2.5]
# Of both answers of each pair; the problems have two, one and three pairs.
LENGTHS = [(3, 9), (5, 1), (7, 7), (2, 4), (8, 2), (1, 6)]
OWNERS = [0, 0, 1, 2, 2, 2]


def answer(text: str, truncated: bool = False, number: int = 0) -> Answer:
    return Answer(
        Problem("p", "?", "1"), number, "teacher", (5,), (6, 7), truncated, text, None, ""
    )


def test_every_rejected_answer_makes_a_pair_and_chosen_ones_are_used_in_turn() -> None:
    chosen, rejected = [answer("a"), answer("b")], [answer(text) for text in "vwxyz"]
    pairs, left_out = pairs_of(3, chosen, rejected)
    assert [pair.chosen.text for pair in pairs] == ["a", "b", "a", "b", "a"]
    assert [pair.rejected.text for pair in pairs] == list("vwxyz")
    assert {pair.problem for pair in pairs} == {3} and not left_out


def test_pairs_that_teach_nothing_are_left_out_and_counted_with_reasons() -> None:
    rejected = [
        answer("a  b\n"),
        answer(" \n"),
        answer("cut", truncated=True),
        answer("e\u0301"),
        answer("good"),
    ]
    pairs, left_out = pairs_of(0, [answer("a b")], rejected)
    assert [pair.rejected.text for pair in pairs] == ["e\u0301", "good"]
    assert [pair.number for pair in pairs] == [3, 4]
    assert left_out == {
        "both answers are the same": 1,
        "the rejected answer is empty": 1,
        "the rejected answer was cut": 1,
    }
    _, left_out = pairs_of(0, [answer("\u00e9")], [answer("e\u0301")])
    assert left_out == {"both answers are the same": 1}
    _, left_out = pairs_of(0, [answer("x", truncated=True), answer("")], rejected[-1:] * 2)
    assert left_out == {"the chosen answer was cut": 1, "the chosen answer is empty": 1}
    assert pairs_of(0, [], rejected)[1] == {"no chosen answer": 1}
    assert pairs_of(0, [answer("x")], [])[1] == {"no rejected answer": 1}
    assert describe_pairs(2, left_out) == (
        "The stage learns from 2 pairs. 2 are left out (the chosen answer is empty: 1, the chosen "
        "answer was cut: 1)."
    )


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return tiny.language_model("qwen2", "float64", seed=3)


def rows() -> list[TrainRow]:
    """Pairs of very different lengths, with references near what a student would say."""
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, tiny.VOCABULARY, (count,), generator=generator).tolist())

    prompts = [Question(Problem(str(owner), "?", "1"), ids(4 + owner), "?") for owner in range(3)]
    pairs: list[list[Pair]] = [[], [], []]
    references: list[list[tuple[float, float]]] = [[], [], []]
    for owner, lengths in zip(OWNERS, LENGTHS, strict=True):
        sides = [
            replace(answer("x"), prompt=prompts[owner].prompt, ids=ids(length))
            for length in lengths
        ]
        pairs[owner].append(Pair(owner, len(pairs[owner]), *sides))
        references[owner].append((-2.5 * lengths[0], -3.5 * lengths[1]))
    return pair_rows(
        [Prompt(*item) for item in zip(prompts, WEIGHTS, strict=True)], pairs, references
    )


def definition(micro: int = 100_000, normalisation: str = "pool", **stage: Any) -> RunSpec:
    stage = {"name": "only", "source": "pairs", "objective": {"kind": "dpo", "beta": 0.3}} | stage
    return spec(
        stages=[stage], pool={"normalisation": normalisation}, compute={"micro_batch_tokens": micro}
    )


def round_of(student: LanguageModel, settings: RunSpec) -> TrainRound:
    all_rows = rows()
    states = TeacherStates(student.vocabulary, all_rows)
    own_rows = [index for unit in units_by_length(all_rows) for index in unit]
    return TrainRound(settings.stages[0], WEIGHTS, all_rows, states, own_rows)


def gradient(
    student: LanguageModel, settings: RunSpec, folder: Path, *rounds: TrainRound
) -> tuple[dict[str, Tensor], float, dict[str, float]]:
    """The gradient that the shares of an update add up to, the loss and the last metrics."""
    rt = Runtime(
        folder,
        EventLog(folder / "events", 1),
        torch.device("cpu"),
        Checkpoints(),
        0,
        settings=settings.compute,
    )
    student.model.zero_grad()
    group = rt.network(GROUP, student.model)
    for share in rounds:
        loss_function = PairLoss(student, student.vocabulary)
        _, metrics = compute_pair_gradients(loss_function, settings, share, rt)
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in student.model.named_parameters()
        if parameter.grad is not None
    }
    return gradients, group._loss / group.normaliser, metrics


def answer_logprob(student: LanguageModel, row: TrainRow) -> Tensor:
    """The log-prob of one answer alone: no padding, no chunks."""
    ids = torch.tensor([row.answer.prompt + row.answer.ids])
    logits = student.model(ids).logits[0, len(row.answer.prompt) - 1 : -1]
    log_p = logits[:, : student.vocabulary].log_softmax(-1)
    return log_p.gather(1, torch.tensor(row.answer.ids)[:, None]).sum()


def equation(student: LanguageModel, settings: RunSpec) -> tuple[dict[str, Tensor], float]:
    """DPO's equation over all pairs, written out."""
    student.model.zero_grad()
    all_rows = rows()
    terms = []
    for chosen, rejected in zip(all_rows[::2], all_rows[1::2], strict=True):
        ratios = [
            answer_logprob(student, row) - row.reference_answer_logprob
            for row in (chosen, rejected)
        ]
        terms.append(-chosen.weight * torch.sigmoid(0.3 * (ratios[0] - ratios[1])).log())
    by_weight = settings.pool.normalisation == "batch_self_norm"
    z = sum(WEIGHTS[owner] for owner in OWNERS) if by_weight else len(OWNERS)
    loss = torch.stack(terms).sum() / z
    loss.backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in student.model.named_parameters()
        if parameter.grad is not None
    }
    return gradients, float(loss.detach())


def require_equal(own: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert own.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(own[name], value, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("normalisation", ["pool", "batch_self_norm"])
@pytest.mark.parametrize("micro", [16, 60, 100_000])
def test_the_gradient_is_that_of_the_equation_whatever_the_micro_batches(
    student: LanguageModel, tmp_path: Path, micro: int, normalisation: str
) -> None:
    settings = definition(micro, normalisation)
    own, loss, _ = gradient(student, settings, tmp_path, round_of(student, settings))
    expected, expected_loss = equation(student, settings)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    require_equal(own, expected)


def test_the_shares_of_ranks_add_up_to_the_gradient_of_the_whole_update(
    student: LanguageModel, tmp_path: Path
) -> None:
    settings = definition(60)
    round = round_of(student, settings)
    units = units_by_length(round.rows)
    shares = [
        replace(round, own_rows=[index for unit in units[rank::2] for index in unit])
        for rank in (0, 1)
    ]
    assert all(len(share.own_rows) == 6 for share in shares)
    own, loss, _ = gradient(student, settings, tmp_path, *shares)
    expected, expected_loss = equation(student, settings)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    require_equal(own, expected)


def test_a_minibatch_keeps_the_pairs_of_a_problem_together_and_has_its_own_z(
    student: LanguageModel, tmp_path: Path
) -> None:
    settings = definition(minibatches=3, problems_per_step=3)
    round = round_of(student, settings)
    parts = [minibatch(round, update, seed=0, step=0) for update in range(3)]
    assert sorted(pair_normaliser(settings, part) for part in parts) == [1, 2, 3]
    for part in parts:
        owners = {round.rows[index].owner for index in part.own_rows}
        assert len(owners) == 1
        assert len(part.own_rows) == 2 * pair_normaliser(settings, part)


def test_the_metrics_are_means_over_pairs(student: LanguageModel, tmp_path: Path) -> None:
    settings = definition(16)
    _, _, metrics = gradient(student, settings, tmp_path, round_of(student, settings))
    all_rows = rows()
    with torch.no_grad():
        logprobs = [answer_logprob(student, row).item() for row in all_rows]
    rewards = [
        0.3 * (logprob - row.reference_answer_logprob)
        for logprob, row in zip(logprobs, all_rows, strict=True)
    ]
    margins = [
        chosen - rejected for chosen, rejected in zip(rewards[::2], rewards[1::2], strict=True)
    ]
    assert metrics == pytest.approx(
        {
            "pairs/chosen_logprob": sum(logprobs[::2]) / 6,
            "pairs/rejected_logprob": sum(logprobs[1::2]) / 6,
            "pairs/margin": sum(margins) / 6,
            "pairs/accuracy": sum(margin > 0 for margin in margins) / 6,
            "pairs/chosen_length": sum(first for first, _ in LENGTHS) / 6,
            "pairs/rejected_length": sum(second for _, second in LENGTHS) / 6,
        }
    )


def test_the_loss_is_ln_2_if_the_reference_is_the_student(
    student: LanguageModel, tmp_path: Path
) -> None:
    settings = definition(normalisation="batch_self_norm")
    round = round_of(student, settings)
    loss_function = PairLoss(student, student.vocabulary)
    with torch.no_grad():
        logprobs = loss_function.logprobs(
            [(row.answer.prompt, row.answer.ids) for row in round.rows]
        )
    own = [
        replace(row, reference_answer_logprob=float(logprob))
        for row, logprob in zip(round.rows, logprobs, strict=True)
    ]
    _, loss, metrics = gradient(student, settings, tmp_path, replace(round, rows=own))
    assert loss == pytest.approx(math.log(2), rel=1e-12)
    assert metrics["pairs/margin"] == pytest.approx(0, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1), st.integers(16, 200)
)
def test_micro_batches_have_whole_pairs_and_at_most_the_allowed_tokens(
    lengths: list[tuple[int, int]], tokens: int
) -> None:
    texts = [((1, 2, 3), (4,) * length) for pair in lengths for length in pair]
    batches = pair_micro_batches(texts, tokens)
    assert sorted(pair for batch in batches for pair in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(2 + max(lengths[pair]) for pair in batch)
        assert len(batch) == 1 or 2 * len(batch) * longest <= tokens


def test_both_answers_of_a_pair_have_its_number_and_their_sides() -> None:
    all_rows = rows()
    assert [row.pair for row in all_rows] == [number for number in range(6) for _ in (0, 1)]
    assert [row.side for row in all_rows] == ["chosen", "rejected"] * 6
    assert [row.owner for row in all_rows[::2]] == OWNERS
    assert DPO().answers == "pairs"
