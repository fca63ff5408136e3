"""Gradient checkpointing keeps the gradients and drops the activations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainer.text.tiny import save_folder
from trainer.spec import Network
from trainer.spec.networks import LowRankAdapter
from trainer.text.language import adapters
from trainer.text.language.heads import last_hidden
from trainer.text.language.models import LanguageModel, load, recompute_activations

IDS = torch.tensor([[5, 9, 13, 4, 20, 7], [8, 8, 3, 2, 11, 30]])


def student(folder: Path, shape: str) -> LanguageModel:
    return load(
        Network(model=f"file:{save_folder(folder, shape, attention_dropout=0.5)}", dtype="float64")
    )


def gradients(language_model: LanguageModel) -> dict[str, Tensor]:
    last_hidden(language_model.model, IDS).pow(3).sum().backward()
    return {
        name: parameter.grad
        for name, parameter in language_model.model.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("shape", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("lora", [False, True])
def test_recomputed_activations_give_the_same_gradients(
    tmp_path: Path, shape: str, lora: bool
) -> None:
    reference, recomputed = student(tmp_path / "a", shape), student(tmp_path / "b", shape)
    if lora:
        for model in (reference, recomputed):
            adapters.add_adapter(model, LowRankAdapter(rank=2), seed=0)
    recompute_activations(recomputed.model)
    expected, actual = gradients(reference), gradients(recomputed)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        assert torch.equal(gradient, actual[name]), name


def test_every_layer_is_computed_twice_and_keeps_only_its_input(tmp_path: Path) -> None:
    model = student(tmp_path, "qwen2")
    kept_before = saved_by_autograd(model)
    recompute_activations(model.model)
    assert saved_by_autograd(model) < kept_before / 3
    calls: Counter[int] = Counter()
    for number, layer in enumerate(model.model.model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, number=number: calls.update([number]))
    gradients(model)
    assert calls == {0: 2, 1: 2}


def saved_by_autograd(language_model: LanguageModel) -> int:
    """Numbers that a forward pass keeps for its backward pass, weights apart."""
    weights = {parameter.data_ptr() for parameter in language_model.model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = last_hidden(language_model.model, IDS)
    assert hidden.requires_grad
    return sum(sizes.values())
