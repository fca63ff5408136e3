"""The code of every declared mechanism exists, and code that does not fit is refused in words."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.trainer.text.objectives.cases import case
from trainer.spec import (
    TOKEN_SCORES,
    CrossEntropy,
    Data,
    ForwardKL,
    Mechanism,
    Rollouts,
    RunSpec,
    Stage,
    Weighting,
    load,
)
from trainer.spec.fields.section_tree import sections
from trainer.text.mechanisms import CodeError, code_named, function_of, require_code
from trainer.text.objectives.divergences import divergence_of
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss
from trainer.text.training.micro_batch_loss import _require_token_loss
from trainer.text.training.problem_weights import weigh

FIELDS = [
    Stage.model_fields["objective"],
    Data.model_fields["verifier"],
    *(Rollouts.model_fields[name] for name in ("generate", "filter", "control", "replay")),
]
DECLARED = [
    declaration
    for field in FIELDS
    for declaration in sections(field.annotation).values()
    if issubclass(declaration, Mechanism)
]


@pytest.mark.parametrize("declaration", DECLARED, ids=lambda declaration: declaration.__name__)
def test_the_code_of_every_declaration_exists(declaration: type[Mechanism]) -> None:
    assert callable(code_named(declaration.function))
    if gradient := getattr(declaration, "gradient", ""):
        assert callable(code_named(gradient))


@pytest.mark.parametrize("name", TOKEN_SCORES)
def test_the_code_of_every_token_score_exists(name: str) -> None:
    assert callable(function_of(TOKEN_SCORES[name]))


class Misspelt(ForwardKL):
    function = "trainer.text.objectives.forward_kl:entrys"


def test_a_misspelt_function_ends_a_run_before_models_are_loaded() -> None:
    spec: RunSpec = load({"stages": [{"name": "only"}]})
    stage = spec.stages[0].model_copy(update={"objective": Misspelt()})
    with pytest.raises(CodeError, match=r"forward_kl:entrys, which a declaration names"):
        require_code(spec.model_copy(update={"stages": (stage,)}))


def summed(_: ForwardKL, log_t: Tensor, log_s: Tensor) -> Tensor:
    return (log_t - log_s).sum(-1)


def detached(_: ForwardKL, log_t: Tensor, log_s: Tensor) -> Tensor:
    return (log_t - log_s).detach()


class Made(ForwardKL):
    gradient: ClassVar[str] = ""


class Summed(Made):
    function = "tests.trainer.text.test_mechanisms:summed"


class Detached(Made):
    function = "tests.trainer.text.test_mechanisms:detached"


def test_entries_of_another_shape_are_refused() -> None:
    with pytest.raises(CodeError, match="one entry for each log-prob"):
        divergence_of(Summed(), torch.zeros(3, 5), torch.zeros(3, 5))
    with pytest.raises(CodeError, match="one entry for each log-prob"):
        case().run(Summed())


def test_entries_without_a_gradient_are_refused() -> None:
    with pytest.raises(CodeError, match="without a gradient"):
        case().run(Detached())


def test_losses_that_would_broadcast_or_teach_nothing_are_refused() -> None:
    logprob = torch.zeros(4, requires_grad=True)
    _require_token_loss(TokenLoss(-logprob), logprob, CrossEntropy())
    for computed, message in (
        (-logprob, "return a TokenLoss"),
        (TokenLoss(-logprob.sum()), "one loss for each of the 4 tokens"),
        (TokenLoss(-logprob[:, None]), r"of shape \[4, 1\]"),
        (TokenLoss(-logprob.detach()), "without a gradient"),
    ):
        with pytest.raises(CodeError, match=message):
            _require_token_loss(computed, logprob, CrossEntropy())


def test_what_an_objective_does_not_declare_it_cannot_use() -> None:
    tokens = SampledTokens(
        torch.zeros(2), CrossEntropy(), lambda name: torch.zeros(2), torch.zeros(2)
    )
    for name, need in (
        ("advantages", "GROUP_VERDICTS"),
        ("old_logprob", "OLD_LOGPROB"),
        ("teacher_logprob", "TEACHER_LOGPROB"),
        ("reference_logprob", "REFERENCE_LOGPROB"),
    ):
        with pytest.raises(CodeError, match=f"add Need.{need} to the needs"):
            getattr(tokens, name)


def test_a_negative_weight_is_refused() -> None:
    class Falling(Weighting):
        kind: str = "falling"

        def weight(self, p: Any) -> Any:
            return p - 0.5

    with pytest.raises(CodeError, match="negative weight"):
        weigh(Falling(), [0.1, 0.9])
