"""LoRA: the student's weights are frozen, and low-rank updates of its linear layers are trained.

    y = x·Wᵀ + (α / r) · x·Aᵀ·Bᵀ

    W [out, in]   frozen
    A [r, in]     starts at random
    B [out, r]    starts at zero

(arXiv 2106.09685, equation 3). peft puts A and B into the network's own layers, in place: all code
that calls these layers, such as the in-process sampler, computes with the adapted weights, and the
network keeps its class, its names and its backbone. There is no dropout.
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
# peft keeps a layer W as `<layer>.base_layer`.
BASE = "base_layer."


def add_adapter(student: LanguageModel, adapter: LowRankAdapter, seed: int) -> None:
    """Add an adapter to the student's network; its output does not change.

    Afterwards only A and B require gradients. `seed` determines the initial A.
    Raises ModelError if the network has none of the adapter's layers.
    """
    from peft import inject_adapter_in_model

    model, layer_names = student.model, set(adapter.layers)
    if not any(name.rsplit(".", 1)[-1] in layer_names for name, _ in model.named_modules()):
        raise ModelError(
            f"{student.name} has no layer called {', '.join(adapter.layers)}. Choose "
            "another model or train without an adapter."
        )
    # The run's own generator stays as it was; no GPU is used, so its state is not copied.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(_config(student.name, adapter), model, NAME)
    # The modules that peft has added are in training mode.
    model.eval()


@contextmanager
def without_adapter(model: PreTrainedModel) -> Iterator[None]:
    """Turn the adapter off in this context, which gives the network from before the run.

    No copy of the weights is needed.
    """
    layers = [layer for _, layer in _named_layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the network's detached weights with the adapter merged, under their original names."""
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


def adapter_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return A and B of every layer under the names of peft's `adapter_model.safetensors`."""
    trained = {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    return {
        f"base_model.model.{name.replace(f'.{NAME}.', '.')}": parameter.detach()
        for name, parameter in trained.items()
    }


def config_file(student: LanguageModel, adapter: LowRankAdapter) -> dict[str, bytes]:
    """Return the `adapter_config.json` with which peft opens a folder of adapter weights."""
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
