"""Confidences read from the model's own probabilities, against sums over whole sequences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.trainer.text.tiny import EOS, language_model
from trainer.spec.confidence import StatedConfidence
from trainer.spec.networks import Network
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.readouts import answer_confidence, expected_confidence
from trainer.text.language.models import LanguageModel, load

TENTHS = Codec(
    StatedConfidence(wording=" conf:{value}", own_line=False, decimals=1, instruction="")
)
CENTS = Codec(StatedConfidence(wording=" abc={value}", own_line=False, decimals=2, instruction=""))


def ids_of(model: LanguageModel, text: str) -> tuple[int, ...]:
    return tuple(model.tokenizer(text, add_special_tokens=False).input_ids)


def logprob(model: LanguageModel, before: tuple[int, ...], after: tuple[int, ...]) -> float:
    """log p(after | before), from one pass over the whole sequence."""
    with torch.no_grad():
        logits = (
            model.model(input_ids=torch.tensor([[*before, *after]]))
            .logits[0, :, : model.vocabulary]
            .double()
        )
    positions = range(len(before) - 1, len(before) + len(after) - 1)
    return sum(
        float(logits[index].log_softmax(-1)[id]) for index, id in zip(positions, after, strict=True)
    )


def expected(model: LanguageModel, prefix: tuple[int, ...], statements: dict[float, str]) -> float:
    scores = np.array([logprob(model, prefix, ids_of(model, text)) for text in statements.values()])
    weights = np.exp(scores - scores.max())
    return float(weights @ np.array(list(statements)) / weights.sum())


def test_levels_of_one_token_are_weighed_by_their_softmax() -> None:
    model = load(Network(model="builtin:student"))
    prompt, reasoning = ids_of(model, "17+25="), ids_of(model, "42")
    confidences = expected_confidence(
        model, [(prompt, (*reasoning, *ids_of(model, " conf:0.9"), model.eos_ids[0]))], TENTHS
    )
    levels = ids_of(model, "".join(f" conf:{tenths / 10}" for tenths in range(11)))
    assert len(levels) == 11
    with torch.no_grad():
        logits = (
            model.model(input_ids=torch.tensor([[*prompt, *reasoning]]))
            .logits[0, -1, list(levels)]
            .double()
        )
    assert confidences == [
        pytest.approx(float(logits.softmax(-1) @ torch.linspace(0, 1, 11).double()), abs=1e-5)
    ]


@pytest.mark.parametrize("tokens", [1, 4096])
def test_numbers_of_several_tokens_are_weighed_by_their_whole_probability(tokens: int) -> None:
    model = language_model(dtype="float64")
    rows = [
        (ids_of(model, "1+1="), (*ids_of(model, f"{answer} abc=0.40"), EOS))
        for answer in ("2", "cabbage", "")
    ]
    confidences = expected_confidence(model, rows, CENTS, tokens=tokens)
    statements = {tenths / 10: f" abc={tenths / 10:.2f}" for tenths in range(11)}
    assert confidences == pytest.approx(
        [
            expected(model, ids_of(model, f"1+1={answer}"), statements)
            for answer in ("2", "cabbage", "")
        ],
        abs=1e-9,
    )


def test_levels_can_be_those_of_the_targets() -> None:
    model = language_model(dtype="float64")
    row = (ids_of(model, "1+1="), ids_of(model, "2 abc=0.50"))
    confidences = expected_confidence(model, [row], CENTS, levels=[k / 8 for k in range(9)])
    eighths = {
        value: f" abc={value:.2f}" for value in (0.0, 0.12, 0.25, 0.38, 0.5, 0.62, 0.75, 0.88, 1.0)
    }
    assert confidences == [
        pytest.approx(expected(model, ids_of(model, "1+1=2"), eighths), abs=1e-9)
    ]


def test_an_answer_without_a_readable_statement_has_no_expectation() -> None:
    model = language_model()
    prompt = ids_of(model, "1+1=")
    rows = [
        (prompt, ids_of(model, text))
        for text in ("2", "2 abc=0.50", "2 abc=7", "2 abc=0.1 abc=0.2")
    ]
    confidences = expected_confidence(model, rows, CENTS)
    assert [value is None for value in confidences] == [True, False, True, True]
    assert expected_confidence(model, rows[:1], CENTS) == [None]


def test_an_answers_confidence_is_the_geometric_mean_of_its_tokens() -> None:
    logprobs = np.log([0.5, 0.125, 0.9])
    assert answer_confidence(logprobs[:2]) == pytest.approx(0.25)
    assert answer_confidence(logprobs, [True, True, False]) == pytest.approx(0.25)
    assert answer_confidence(logprobs, [False] * 3) is None
    assert answer_confidence([-math.inf]) == 0.0
