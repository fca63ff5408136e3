"""Teachers score and sample with their own weights, whatever the student's have become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from tests.trainer.text.teachers.classroom import (
    PLAIN,
    SHOWN,
    THINKING,
    definition,
    opened,
    prose_folder,
    question,
    student,
    student_folder,
)
from trainer.engine.distributed.sharding import Sharded
from trainer.engine.distributed.world import World
from trainer.spec import LowRankAdapter, Network, Sampling
from trainer.text.language import adapters
from trainer.text.language.hidden_states import response_hidden
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.tokenizers import decode
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest
from trainer.text.teachers.loading import Teachers, open_teachers
from trainer.text.teachers.snapshots import WithoutAdapter

ROWS = [((5, 6, 7), (8, 9, 1)), ((5,), (4, 1))]


def oneself(weights: str, of: LanguageModel, of_adapter: bool = False, **changes: Any) -> Teachers:
    learner = {
        "model": f"file:{student_folder()}",
        "adapter": {"kind": "lora"} if of_adapter else {"kind": "none"},
    }
    return opened(
        definition(
            {"kind": "self", "weights": weights, "context": SHOWN, **changes}, student=learner
        ),
        of,
    )


def adapted() -> LanguageModel:
    model = student()
    adapters.add_adapter(model, LowRankAdapter(rank=2, alpha=4), 0)
    return model


def logits(teachers: Teachers) -> torch.Tensor:
    view = teachers.loaded[0]
    return view.head.logits(view.hidden(ROWS), teachers.vocabulary)


@torch.no_grad()
def own_logits(model: LanguageModel) -> torch.Tensor:
    return model.model.get_output_embeddings()(response_hidden(model, ROWS))


@torch.no_grad()
def take_a_step(model: LanguageModel, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in filter(lambda parameter: parameter.requires_grad, model.model.parameters()):
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_the_initial_teacher_stays_as_the_student_was_with_its_head() -> None:
    model = student()
    teachers, before = oneself("initial", model), own_logits(model)
    take_a_step(model)
    teachers.after_update()
    after = own_logits(model)
    torch.testing.assert_close(logits(teachers), before, rtol=0, atol=0)
    torch.testing.assert_close(own_logits(model), after, rtol=0, atol=0)
    assert not torch.equal(before, after)


def test_the_initial_teachers_head_keeps_its_weights_and_has_no_gradient() -> None:
    model = student()
    head = oneself("initial", model).loaded[0].head
    initial_weight = head.weight.clone()
    take_a_step(model)
    assert torch.equal(head.weight, initial_weight) and not head.weight.requires_grad


def test_the_moving_average_follows_each_step_at_its_rate() -> None:
    model = student()
    teachers = oneself("ema", model, ema_rate=0.25)
    expected = {
        name: parameter.detach().double().clone()
        for name, parameter in model.model.named_parameters()
    }
    for seed in range(3):
        take_a_step(model, seed)
        teachers.after_update()
        expected = {
            name: 0.75 * mean + 0.25 * model.model.get_parameter(name).detach().double()
            for name, mean in expected.items()
        }
    for name, mean in teachers.tensors().items():
        torch.testing.assert_close(mean.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert teachers.tensors().keys() == expected.keys()


def test_a_resumed_moving_average_is_the_same_teacher() -> None:
    model = student()
    teachers = oneself("ema", model)
    take_a_step(model)
    teachers.after_update()
    resumed = oneself("ema", model)
    resumed.load({name: mean.clone() for name, mean in teachers.tensors().items()})
    torch.testing.assert_close(logits(resumed), logits(teachers), rtol=0, atol=0)


def test_the_initial_teacher_needs_nothing_in_a_checkpoint() -> None:
    assert oneself("initial", student()).tensors() == {}


def test_the_live_teacher_is_the_student_at_each_step() -> None:
    model = student()
    teachers = oneself("live", model)
    take_a_step(model)
    torch.testing.assert_close(logits(teachers), own_logits(model), rtol=0, atol=0)


def test_only_trained_weights_are_averaged() -> None:
    model = student()
    model.model.requires_grad_(False)
    model.model.get_output_embeddings().requires_grad_(True)
    assert list(oneself("ema", model).tensors()) == ["lm_head.weight"]


@pytest.mark.parametrize("weights", ["adapter_off", "initial"])
def test_with_an_adapter_the_weights_of_before_the_run_need_no_copy(weights: str) -> None:
    model, plain = adapted(), own_logits(student())
    teachers = oneself(weights, model, of_adapter=True)
    take_a_step(model)
    torch.testing.assert_close(logits(teachers), plain, rtol=0, atol=0)
    assert not torch.equal(own_logits(model), plain)
    assert isinstance(teachers.loaded[0].weights, WithoutAdapter)


def test_with_an_adapter_the_adapter_alone_is_averaged() -> None:
    model = adapted()
    teachers = oneself("ema", model, of_adapter=True, ema_rate=0.5)
    take_a_step(model)
    teachers.after_update()
    assert teachers.tensors() and all(".lora_" in name for name in teachers.tensors())
    with teachers.loaded[0].in_place():
        inside = own_logits(model)
    assert not torch.equal(inside, own_logits(model)) and not torch.equal(
        inside, own_logits(student())
    )


def test_switching_the_adapter_off_leaves_the_gradients_of_the_student_alone() -> None:
    model = adapted()
    view = oneself("adapter_off", model, of_adapter=True).loaded[0]
    take_a_step(model)
    trained = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
    hidden = response_hidden(model, ROWS)
    gradients_before = torch.autograd.grad(hidden.sum(), trained, retain_graph=True)
    view.hidden(ROWS)
    gradients_after = torch.autograd.grad(hidden.sum(), trained)
    assert all(
        torch.equal(before, after)
        for before, after in zip(gradients_before, gradients_after, strict=True)
    )
    still = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
    assert [id(parameter) for parameter in still] == [id(parameter) for parameter in trained]


def test_a_teacher_leaves_the_gradients_of_the_student_alone() -> None:
    model = student()
    teachers = oneself("initial", model)
    take_a_step(model)
    hidden = response_hidden(model, ROWS)
    gradients_before = torch.autograd.grad(
        hidden.sum(), list(model.model.model.parameters()), retain_graph=True
    )
    assert not teachers.loaded[0].hidden(ROWS).requires_grad
    gradients_after = torch.autograd.grad(hidden.sum(), list(model.model.model.parameters()))
    assert all(
        torch.equal(before, after)
        for before, after in zip(gradients_before, gradients_after, strict=True)
    )


def test_a_teacher_samples_with_its_own_weights() -> None:
    model = student()
    view = oneself("initial", model).loaded[0]
    request, law = [SampleRequest("p", (5, 6, 7), (0, 1, 2))], Sampling(max_new_tokens=12)
    before = [result.ids for result in sample(model, request, law, Noise(0, 0, "teacher"))]
    take_a_step(model)
    with view.in_place():
        inside = [
            result.ids
            for result in sample(view.language_model, request, law, Noise(0, 0, "teacher"))
        ]
    outside = [result.ids for result in sample(model, request, law, Noise(0, 0, "teacher"))]
    assert inside == before != outside


def test_weights_come_back_even_if_the_teacher_fails() -> None:
    model = student()
    view = oneself("initial", model).loaded[0]
    take_a_step(model)
    before = own_logits(model)
    with pytest.raises(ZeroDivisionError), view.in_place():
        raise ZeroDivisionError
    assert torch.equal(own_logits(model), before)


def test_a_completion_is_scored_as_the_same_ids_behind_another_prompt() -> None:
    model = student()
    view = oneself("live", model).loaded[0]
    prompt = view.prompt(question("q"))
    assert decode(model, prompt) == "q|1+1 is 2|again"
    completion = (8, 9, 1)
    sequence = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        expected = model.model.base_model(input_ids=sequence).last_hidden_state[
            0, len(prompt) - 1 : -1
        ]
    torch.testing.assert_close(view.hidden([(prompt, completion)]), expected)


def test_student_and_teacher_think_each_in_their_own_mode(tmp_path: Path) -> None:
    folder = prose_folder(tmp_path, template=THINKING)
    student_model = load(Network(model=f"file:{folder}", thinking="off"))
    spec = definition(
        {"kind": "self", "weights": "live", "thinking": "on", "context": SHOWN},
        student={"model": f"file:{folder}"},
    )
    view = opened(spec, student_model).loaded[0]
    assert decode(student_model, view.prompt(question("q"))).endswith("|again)>on")
    assert student_model.thinking == "off"


def test_a_thinking_mode_that_the_template_does_not_know_is_refused(tmp_path: Path) -> None:
    for template in ("", "{{ messages[0]['content'] }}"):
        model = load(
            Network(model=f"file:{prose_folder(tmp_path / f't{len(template)}', template=template)}")
        )
        view = oneself("live", model, thinking="on").loaded[0]
        with pytest.raises(
            ModelError, match=r"knows no `enable_thinking`.*Set its `thinking` to as_the_template"
        ):
            view.prompt(question("q"))


def test_a_teacher_that_is_another_model_is_frozen_and_has_its_own_head() -> None:
    model = student()
    folder = prose_folder(seed=1, vocab_size=128)
    teachers = opened(
        definition({"kind": "model", "model": f"file:{folder}", "context": PLAIN}), model
    )
    unwrapped = load(Network(model=f"file:{folder}"))
    torch.testing.assert_close(logits(teachers), own_logits(unwrapped)[:, : teachers.vocabulary])
    assert not any(
        parameter.requires_grad
        for parameter in teachers.loaded[0].language_model.model.parameters()
    )
    assert all(parameter.requires_grad for parameter in model.model.parameters())


@pytest.mark.parametrize("weights", ["initial", "ema", "live"])
def test_a_student_in_shards_teaches_as_a_whole_one_does(tmp_path: Path, weights: str) -> None:
    spec = definition({"kind": "self", "weights": weights, "ema_rate": 0.5, "context": SHOWN})
    model, whole_model = student(), student()
    expected = opened(spec, whole_model)
    distributed.init_process_group(
        "gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    try:
        sharded = Sharded(model.model, list(model.model.model.layers), World())
        teachers = open_teachers(spec, model, torch.device("cpu"), sharded.refresh)
        for student_model, its_teachers in ((model, teachers), (whole_model, expected)):
            with torch.no_grad():
                [parameter.mul_(1.5) for parameter in student_model.model.parameters()]
            its_teachers.after_update()
        view = teachers.loaded[0]
        with sharded.full_parameters():
            hidden, head, live = view.hidden(ROWS), view.head, own_logits(model)
        torch.testing.assert_close(head.logits(hidden, teachers.vocabulary), logits(expected))
        torch.testing.assert_close(live, own_logits(whole_model))
    finally:
        distributed.destroy_process_group()
