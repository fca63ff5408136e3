"""Importance weights of answers from another sampler: min(π/μ, 2), constant, none if edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import ToyFilter, pipeline, prompts
from tests.trainer.text.tiny import language_model
from trainer.text.language.heads import head_of, last_hidden
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.importance_weights import (
    ImportanceWeightedFilter,
    with_importance_weights,
)
from trainer.text.rollouts.records import DroppedAnswer, Group, TrainRow

NUMBERS = st.lists(st.tuples(st.floats(-2000, 0), st.floats(-2000, 0)), min_size=1, max_size=6)


def row(behaviour: Sequence[float], coefficients: Sequence[float]) -> TrainRow:
    first = pipeline(1).run_round(prompts("a"), Noise(0, 0), 0).rows[0]
    length = len(behaviour)
    return replace(
        first,
        answer=replace(first.answer, ids=(3,) * length),
        kinds=np.ones(length, np.int8),
        anchor_logprobs=None,
        coefficients=np.array(coefficients, np.float32),
        behaviour_logprobs=np.array(behaviour, np.float32),
    )


def test_the_weight_is_the_ratio_and_at_most_two() -> None:
    actual = np.array([-1.0, -2.0, -0.1, -0.2], np.float32)
    done = with_importance_weights(row([-1.0, -1.0, -3.0, -0.5], [1.0, 0.5, 1.0, 0.0]), actual)
    np.testing.assert_allclose(done.coefficients, [1.0, 0.5 * np.exp(-1.0), 2.0, 0.0], rtol=1e-6)
    assert done.anchor_logprobs is actual


@given(NUMBERS)
def test_no_token_is_left_out_so_the_normaliser_stays(numbers: list[tuple[float, float]]) -> None:
    actual, expected = np.array(numbers, np.float32).T
    done = with_importance_weights(row(expected, [1.0] * len(expected)), actual)
    assert (
        (done.coefficients > 0).all()
        and (done.coefficients <= 2).all()
        and done.coefficients.dtype == np.float32
    )


@dataclass
class Editing(ToyFilter):
    """Edits the second row."""

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows, dropped = super().rows(groups)
        rows[1] = replace(rows[1], anchor_logprobs=None, behaviour_logprobs=None, edited=True)
        return rows, dropped


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_student_reads_what_was_drawn_and_edited_answers_are_not_weighed(
    temperature: float,
) -> None:
    model = language_model()
    plain = pipeline(3, filter=Editing())
    rows = plain.run_round(prompts("a", "b"), Noise(0, 0), 0).rows
    done = (
        replace(plain, filter=ImportanceWeightedFilter(Editing(), model, temperature, lambda: 40))
        .run_round(prompts("a", "b"), Noise(0, 0), 0)
        .rows
    )
    assert (
        len(done) == 6
        and done[1].edited
        and (done[1].coefficients == 1).all()
        and done[1].anchor_logprobs is None
    )
    for before, after in zip(rows, done, strict=True):
        if before.behaviour_logprobs is None:
            continue
        ids = torch.tensor([before.answer.prompt + before.answer.ids])
        with torch.no_grad():
            logits_TV = model.model(ids).logits[
                0, len(before.answer.prompt) - 1 : -1, : model.vocabulary
            ]
        sampling_logprobs = (
            (logits_TV / temperature)
            .log_softmax(-1)
            .gather(-1, torch.tensor(before.answer.ids)[:, None])[:, 0]
            .numpy()
        )
        np.testing.assert_allclose(
            after.coefficients,
            np.minimum(np.exp(sampling_logprobs - before.behaviour_logprobs), 2),
            rtol=1e-4,
        )
        assert after.anchor_logprobs is not None
        np.testing.assert_allclose(after.anchor_logprobs, sampling_logprobs, atol=1e-4)


def test_a_student_that_updates_in_bfloat16_is_read_in_it() -> None:
    model = language_model()
    plain = pipeline(3)
    asked = prompts("a", "b")
    rows = plain.run_round(asked, Noise(0, 0), 0).rows
    weighted = ImportanceWeightedFilter(ToyFilter(), model, 1.0, lambda: 40, bfloat16=True)
    done = replace(plain, filter=weighted).run_round(asked, Noise(0, 0), 0).rows
    distances: dict[bool, float] = {}
    for bfloat16 in (True, False):
        differences = []
        for before, after in zip(rows, done, strict=True):
            answer, ids = before.answer, torch.tensor(before.answer.ids)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                hidden_TH = last_hidden(model.model, torch.tensor([answer.prompt + answer.ids]))
            head = head_of(model.model)
            logits_TV = head.logits(hidden_TH[0, len(answer.prompt) - 1 : -1], model.vocabulary)
            own_T = logits_TV.log_softmax(-1).gather(-1, ids[:, None])[:, 0].detach().numpy()
            assert after.anchor_logprobs is not None
            differences.append(np.abs(after.anchor_logprobs - own_T).mean())
        distances[bfloat16] = float(np.mean(differences))
    assert distances[True] < distances[False] / 2
