"""The reference keeps the student's weights from the beginning of its stage."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.text.short_run import carried_out, column, short
from tests.trainer.text.tiny import language_model
from tests.trainer.text.tiny_run import final_hash, numbers, spec, start
from trainer.engine.loop import Runtime
from trainer.engine.outcome import RunRefused
from trainer.spec import RunSpec
from trainer.text import run
from trainer.text.language.models import LanguageModel
from trainer.text.training.reference import Reference

KL = {"kind": "kl", "to": "reference", "coefficient": 2.0}
RATIO: dict[str, Any] = {
    "objective": {"kind": "grpo", "kl": KL},
    "rollouts": {"generate": {"per_problem": 4, "sampling": {"max_new_tokens": 72}}},
    "optimiser": {"learning_rate": 0.01},
}


def two_stages(**changes: Any) -> RunSpec:
    return spec(
        stages=[
            {"name": "plain", "objective": {"kind": "reverse_kl"}},
            {"name": "near", **RATIO},
        ],
        **changes,
    )


def reference_of(student: LanguageModel, definition: RunSpec) -> Reference:
    parameters = dict(student.model.named_parameters())
    return Reference(definition, student.model, parameters, lambda: None)


def changed(student: LanguageModel) -> None:
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(1.0)


def test_it_is_the_student_of_the_stages_beginning_also_after_a_checkpoint() -> None:
    student, definition = deepcopy(language_model()), two_stages()
    first = next(student.model.parameters())
    reference, stage = reference_of(student, definition), definition.stages[1]
    reference.enter(definition.stages[0], True)
    assert not reference.tensors()
    reference.enter(stage, True)
    at_begin = first.detach().clone()
    changed(student)
    reference.enter(stage, False)
    resumed = reference_of(student, definition)
    resumed.load(reference.stage, reference.tensors())
    resumed.enter(stage, False)
    for one in (reference, resumed):
        with one.in_place():
            assert torch.equal(first, at_begin)
        assert torch.equal(first, at_begin + 1)


def test_a_stage_that_has_begun_without_its_reference_is_refused() -> None:
    student, definition = deepcopy(language_model()), two_stages()
    reference = reference_of(student, definition)
    reference.load("", {})
    with pytest.raises(RunRefused, match="does not have the weights from its beginning"):
        reference.enter(definition.stages[1], False)


def test_an_adapter_is_switched_off_in_the_first_stage_instead_of_copied(tmp_path: Path) -> None:
    adapter = {"student": {"model": "builtin:student", "adapter": {"kind": "lora", "rank": 2}}}
    definition = short({**RATIO, "until": {"steps": 2}}, networks=adapter, checkpoints={"every": 1})
    folder = carried_out(definition, tmp_path)
    assert len(column(folder, "loss")) == 2
    assert not list(folder.rglob("reference*.safetensors"))


def test_a_kl_term_is_zero_until_the_student_has_moved_away(tmp_path: Path) -> None:
    stage = {**RATIO, "objective": {"kind": "grpo", "kl": KL | {"coefficient": 100.0}}}
    without = {**stage, "objective": {"kind": "grpo"}}
    folders = [
        carried_out(short({**one, "until": {"steps": 2}}), tmp_path / name)
        for name, one in (("with", stage), ("without", without))
    ]
    (first, second), (plain_first, plain_second) = (column(each, "loss") for each in folders)
    assert first == pytest.approx(plain_first, abs=1e-4)
    assert abs(second - plain_second) > 1e-3


@pytest.mark.parametrize("to", ["reference", "teacher"])
def test_a_resumed_run_has_the_same_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    stages = [
        {"name": "plain", "until": {"steps": 1}},
        {
            **RATIO,
            "name": "near",
            "shapers": {"kl": {"to": to, "coefficient": 0.5}},
            "until": {"steps": 3},
        },
    ]
    definition = short(*stages, checkpoints={"every": 1})
    whole = carried_out(definition, tmp_path / "whole")
    original = Runtime.metrics

    def metrics(self: Runtime, values: dict[str, float]) -> None:
        original(self, values)
        if self.step == 2 and "loss" in values:
            self.request_stop("asked in the test")

    monkeypatch.setattr(Runtime, "metrics", metrics)
    stopped = tmp_path / "stopped"
    assert start(definition, stopped) == 75
    monkeypatch.undo()
    assert run.resume(stopped) == 0
    assert column(whole, "grad_norm")[-1] > 0
    assert numbers(stopped) == numbers(whole)
    assert final_hash(stopped) == final_hash(whole)
