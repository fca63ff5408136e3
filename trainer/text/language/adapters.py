"""LoRA: the student's weights stay as they are, and low-rank updates of its linear layers are
trained (arXiv 2106.09685, equation 3).

    y = x·Wᵀ + (α / r) · x·Aᵀ·Bᵀ        W [out, in] frozen, A [r, in] drawn at random, B [out, r]
    zero at the beginning

peft puts A and B into the network's own layers, in place: whoever calls these layers, the
in-process sampler among them, computes with the adapted weights, and the network keeps its class,
its names and its backbone. There is no dropout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.spec.networks import LowRankAdapter
from trainer.text.language.models import LanguageModel, ModelError

if TYPE_CHECKING:
    from peft import LoraConfig

NAME = "default"
BASE = "base_layer."  # peft keeps a layer W as `<layer>.base_layer`


def apply(student: LanguageModel, adapter: LowRankAdapter, seed: int) -> None:
    """Put an adapter into the student's network. From then on only A and B require gradients; the
    network computes what it did.

    Raises ModelError where the network has none of the adapter's layers.
    """
    from peft import inject_adapter_in_model

    model, layer_names = student.model, set(adapter.layers)
    if not any(name.rsplit(".", 1)[-1] in layer_names for name, _ in model.named_modules()):
        raise ModelError(
            f"{student.name} has no layer called {', '.join(adapter.layers)}. Choose "
            "another model or train without an adapter."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(_config(student.name, adapter), model, NAME)
    model.eval()


@contextmanager
def off(model: PreTrainedModel) -> Iterator[None]:
    """The network without its adapter, which is the network of before the run: no copy is
    needed.
    """
    layers = [layer for _, layer in _named_layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged(model: PreTrainedModel) -> dict[str, Tensor]:
    """The network's weights with the adapter folded in, detached, under the names that they have
    without one.
    """
    updates = {
        f"{name}.weight": layer.get_delta_weight(NAME).detach()
        for name, layer in _named_layers(model)
    }
    plain = {
        name.replace(BASE, ""): value
        for name, value in model.state_dict().items()
        if ".lora_" not in name
    }
    return {
        name: value + updates[name] if name in updates else value for name, value in plain.items()
    }


def exported(model: PreTrainedModel) -> dict[str, Tensor]:
    """A and B of every layer under the names of peft's `adapter_model.safetensors`."""
    trained = {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    return {
        f"base_model.model.{name.replace(f'.{NAME}.', '.')}": parameter.detach()
        for name, parameter in trained.items()
    }


def description(student: LanguageModel, adapter: LowRankAdapter) -> dict[str, bytes]:
    """The file that makes a folder with `adapter_model.safetensors` one that peft opens."""
    settings = _config(student.name, adapter).to_dict() | {
        "target_modules": sorted(adapter.layers),
        "inference_mode": True,
    }
    return {"adapter_config.json": json.dumps(settings, indent=1, default=str).encode()}


def _config(base: str, adapter: LowRankAdapter) -> LoraConfig:
    from peft import LoraConfig

    settings: dict[str, Any] = {
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": list(adapter.layers),
        "lora_dropout": 0.0,
    }
    return LoraConfig(**settings, bias="none", task_type="CAUSAL_LM", base_model_name_or_path=base)


def _named_layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)
    ]
