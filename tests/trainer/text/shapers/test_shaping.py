"""Shapers compose in any order, and what they return is what they declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from tests.trainer.text.rollouts.rounds import pipeline, prompts
from tests.trainer.text.tiny_run import spec
from trainer.spec import Shaper, Stage
from trainer.spec.objectives.objective import Need, Write
from trainer.spec.rules.shapers import shaper_refusals
from trainer.spec.shapers import ShaperChoices
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import TrainRow
from trainer.text.shapers.shaping import Changes, logprobs, shape

HERE = "tests.trainer.text.shapers.test_shaping"


def given_value(shaper: Any, rows: Sequence[TrainRow], _: Stage) -> Changes:
    return {write: [shaper.value] * len(rows) for write in shaper.writes}


def per_token(shaper: Any, rows: Sequence[TrainRow], _: Stage) -> Changes:
    return {Write.ADVANTAGES: [np.arange(len(row.answer.ids)) * shaper.value for row in rows]}


def too_few(shaper: Any, rows: Sequence[TrainRow], _: Stage) -> Changes:
    return {write: [1.0] for write in shaper.writes}


def undeclared(_: Any, rows: Sequence[TrainRow], __: Stage) -> Changes:
    return {Write.CLIP_LOW: [0.1] * len(rows)}


def no_number(_: Any, rows: Sequence[TrainRow], __: Stage) -> Changes:
    return {Write.ADVANTAGES: [float("nan")] * len(rows)}


def reads_teacher(_: Any, rows: Sequence[TrainRow], __: Stage) -> Changes:
    return {Write.ADVANTAGES: [logprobs(row, Need.TEACHER_LOGPROB) for row in rows]}


def shaper(
    kind: str, writes: Mapping[Write, Any], value: float = 1.0, function: str = "given_value"
) -> Shaper:
    declared = type(
        kind.title(),
        (Shaper,),
        {
            "__annotations__": {"kind": Literal[kind], "value": float},
            "__module__": HERE,
            "kind": kind,
            "value": value,
            "title": kind,
            "function": f"{HERE}:{function}",
            "writes": writes,
        },
    )
    made: Shaper = declared()
    return made


def stage_with(*shapers: Shaper, objective: str = "grpo") -> Stage:
    generate = {"per_problem": 2}
    stage = {"name": "a", "objective": {"kind": objective}, "rollouts": {"generate": generate}}
    fields: dict[str, Any] = {shaper.kind: (Shaper | None, shaper) for shaper in shapers}
    chosen = create_model("Chosen", __base__=ShaperChoices, **fields)()
    return spec(stages=[stage]).stages[0].model_copy(update={"shapers": chosen})


@pytest.fixture(scope="module")
def rows() -> list[TrainRow]:
    return pipeline(2).run_round(prompts("a", "b"), Noise(0, 0), 0).rows


@given(order=st.permutations(range(4)))
def test_what_is_set_comes_first_then_sums_then_factors(order: list[int]) -> None:
    rows = pipeline(2).run_round(prompts("a", "b"), Noise(0, 0), 0).rows
    shapers = [
        shaper("fixed", {Write.ADVANTAGES: "sets"}, 2.0),
        shaper("more", {Write.ADVANTAGES: "adds"}, 0.5),
        shaper("slope", {Write.ADVANTAGES: "adds"}, 1.0, "per_token"),
        shaper("twice", {Write.ADVANTAGES: "multiplies"}, 2.0),
    ]
    for row in shape(rows, stage_with(*(shapers[index] for index in order))):
        expected = 2 * (2 + 0.5 + np.arange(len(row.answer.ids)))
        assert row.advantages is not None
        np.testing.assert_allclose(row.advantages.astype(float), expected, rtol=1e-6)


def test_without_shapers_rows_stay_as_they_are(rows: list[TrainRow]) -> None:
    for before, after in zip(rows, shape(rows, stage_with()), strict=True):
        assert after is before


@pytest.mark.parametrize(
    ("write", "how", "value", "expected"),
    [
        (Write.CLIP_LOW, "multiplies", 0.5, 0.1),
        (Write.CLIP_HIGH, "adds", 0.02, 0.3),
        (Write.RATIO_OFFSETS, "sets", 0.001, 0.001),
    ],
)
def test_clip_radii_and_ratio_modes_start_from_those_of_the_objective(
    rows: list[TrainRow], write: Write, how: str, value: float, expected: float
) -> None:
    for row in shape(rows, stage_with(shaper("one", {write: how}, value))):
        np.testing.assert_allclose(getattr(row, write), np.full(len(row.answer.ids), expected))


def test_weights_leave_no_token_out(rows: list[TrainRow]) -> None:
    writes: dict[Write, Any] = {
        Write.IMPORTANCE_WEIGHTS: "multiplies",
        Write.ROW_WEIGHT: "multiplies",
    }
    for row in shape(rows, stage_with(shaper("half", writes, 0.5))):
        assert (row.coefficients == 0.5).all() and row.row_weight == 0.5
    for row in shape(rows, stage_with(shaper("nothing", writes, 0.0))):
        assert (row.coefficients > 0).all() and row.row_weight == 0


def test_tokens_without_a_known_law_keep_their_weight(rows: list[TrainRow]) -> None:
    halving = stage_with(shaper("half", {Write.IMPORTANCE_WEIGHTS: "multiplies"}, 0.5))
    assert rows[0].behaviour_logprobs is not None
    forced = rows[0].behaviour_logprobs.copy()
    forced[0] = np.nan
    edited = replace(rows[1], behaviour_logprobs=None, anchor_logprobs=None, edited=True)
    done = shape([replace(rows[0], behaviour_logprobs=forced), edited], halving)
    assert done[0].coefficients.tolist() == [1.0, *[0.5] * (len(forced) - 1)]
    assert (done[1].coefficients == 1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shaper("few", {Write.CLIP_LOW: "sets"}, function="too_few"), "returns 1 clip_low for"),
        (shaper("other", {Write.CLIP_HIGH: "sets"}, function="undeclared"), "as it declares"),
        (shaper("nan", {Write.ADVANTAGES: "adds"}, function="no_number"), "no finite numbers"),
        (shaper("below", {Write.ROW_WEIGHT: "sets"}, -1.0), "must not be negative"),
        (
            shaper("reader", {Write.ADVANTAGES: "adds"}, function="reads_teacher"),
            "add Need.TEACHER_LOGPROB to the needs",
        ),
    ],
)
def test_what_a_shaper_does_not_declare_ends_the_run(
    rows: list[TrainRow], wrong: Shaper, message: str
) -> None:
    with pytest.raises(CodeError, match=message):
        shape(rows, stage_with(wrong))


def test_two_that_set_the_same_are_refused() -> None:
    first = shaper("first", {Write.ADVANTAGES: "sets"})
    second = shaper("second", {Write.ADVANTAGES: "sets"})
    adding = shaper("adding", {Write.ADVANTAGES: "adds"})
    ((path, sentence),) = shaper_refusals(spec(), stage_with(first, adding, second))
    assert path == "shapers.second"
    assert "sets advantages, as first does" in sentence and "remove one" in sentence
    assert not [*shaper_refusals(spec(), stage_with(first, adding))]


def test_a_shaper_of_what_the_objective_does_not_learn_by_is_refused() -> None:
    for objective in ("reverse_kl", "policy_gradient"):
        stage = stage_with(shaper("clips", {Write.CLIP_LOW: "sets"}), objective=objective)
        ((path, sentence),) = shaper_refusals(spec(), stage)
        assert path == "shapers.clips"
        assert f"changes clip low, but {objective} does not learn by that" in sentence
    weighing = shaper("weighing", {Write.ROW_WEIGHT: "sets"})
    assert not [*shaper_refusals(spec(), stage_with(weighing, objective="policy_gradient"))]
