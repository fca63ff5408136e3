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
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from trainer.spec.networks import LowRankAdapter
from trainer.text.language.models import LanguageModel, ModelError, layers_of

if TYPE_CHECKING:
    from peft import LoraConfig

NAME = "default"
# peft keeps a layer W as `<layer>.base_layer`.
BASE = "base_layer."
# Names that configurations give to the number of experts of a mixture.
EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def add_adapter(student: LanguageModel, adapter: LowRankAdapter, seed: int) -> None:
    """Add an adapter to the student's network; its output does not change.

    Afterwards only A and B require gradients. `seed` determines the initial A.
    Raises ModelError if the network has none of the adapter's layers.
    """
    from peft import inject_adapter_in_model

    model = student.model
    targets = _targets(model, adapter)
    if not targets:
        existing = sorted({_last_part(name) for name in _linear_layers(model)})
        raise ModelError(
            f"{student.name} has no layer called {', '.join(adapter.layers)}. Its linear layers "
            f"are {', '.join(existing)}: choose among them, or leave the adapter's layers empty."
        )
    # The run's own generator stays as it was; no GPU is used, so its state is not copied.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        holder = _WithoutConfiguration(model) if _is_mixture(model) else model
        try:
            inject_adapter_in_model(_config(student.name, adapter, targets), holder, NAME)
        # Such as layers whose weights a network uses without calling the layer.
        except ValueError as error:
            raise ModelError(
                f"{student.name} takes no adapter on {', '.join(targets)} ({error}). Name other "
                "layers in networks.student.adapter.layers, or train all weights."
            ) from error
    # The modules that peft has added are in training mode.
    model.eval()


class _WithoutConfiguration(nn.Module):
    """Holds a mixture of experts while peft adapts it.

    By the configuration of some mixtures (DeepSeek, GLM), peft takes layers called `gate_proj`,
    `up_proj` and `down_proj` for those of the experts, adapts the experts' common tensors instead,
    and leaves out the dense layers and shared experts of these names.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def describe(student: LanguageModel, adapter: LowRankAdapter) -> list[tuple[str, str]]:
    """Return notes on what an added adapter trains, as (level of the log, sentence)."""
    adapted = {_last_part(name) for name, _ in _named_layers(student.model)}
    others = {_last_part(name) for name in _linear_layers(student.model)} - adapted
    trained = f"The adapter trains the layers {', '.join(sorted(adapted))}"
    if missing := [name for name in adapter.layers if _last_part(name) not in adapted]:
        untrained = f"; not trained are {', '.join(sorted(others))}" if others else ""
        return [
            (
                "warning",
                f"{trained} alone: {student.name} has no layer called {', '.join(missing)}"
                f"{untrained}. With no layer named, the adapter has every linear layer.",
            )
        ]
    notes = [("info", f"{trained} of {student.name}.")]
    # transformers holds the experts of a mixture in one tensor, which is no linear layer.
    parameters = [weight for block in layers_of(student.model) for weight in block.parameters()]
    if _is_mixture(student.model) and any(weight.ndim == 3 for weight in parameters):
        notes.append(
            ("warning", f"The experts of {student.name} are no linear layers and stay as they are.")
        )
    return notes


def _targets(model: PreTrainedModel, adapter: LowRankAdapter) -> list[str]:
    """Return what peft calls target modules: last parts of names, or full names where these would
    match other layers too.
    """
    candidates = _linear_layers(model)
    if adapter.layers:
        return sorted(
            {
                name
                for name in adapter.layers
                if any(_matches(layer, name) for layer, _ in model.named_modules())
            }
        )
    parts = sorted({_last_part(layer) for layer in candidates})
    matched = {
        layer for layer, _ in model.named_modules() if any(_matches(layer, part) for part in parts)
    }
    return parts if matched == set(candidates) else sorted(candidates)


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of all linear layers of the blocks, without the routers of a mixture."""
    from peft.tuners.lora import LoraLayer

    blocks = tuple(
        f"{name}."
        for name, module in model.named_modules()
        if isinstance(module, GradientCheckpointingLayer)
    )
    is_mixture, head = _is_mixture(model), model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        # GPT-2's linear layers are of a class of their own. An adapted layer counts as one.
        if isinstance(module, nn.Linear | Conv1D | LoraLayer)
        and (name.startswith(blocks) if blocks else module is not head)
        # Inside an adapted layer there are its own A and B, and W.
        and not re.search(r"\.(lora_[AB]\.\w+|base_layer)$", name)
        and not (is_mixture and re.search(r"(^|[._])(gate|router)$", name))
    ]


def _is_mixture(model: PreTrainedModel) -> bool:
    return any(getattr(model.config, name, None) for name in EXPERT_COUNTS)


def _matches(layer: str, name: str) -> bool:
    """Whether peft adapts this layer for that target module."""
    return layer == name or layer.endswith(f".{name}")


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


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
    targets = _targets(student.model, adapter)
    settings = _config(student.name, adapter, targets).to_dict() | {
        "target_modules": targets,
        "inference_mode": True,
    }
    return {"adapter_config.json": json.dumps(settings, indent=1, default=str).encode()}


def _config(base: str, adapter: LowRankAdapter, targets: list[str]) -> LoraConfig:
    from peft import LoraConfig

    settings: dict[str, Any] = {
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": targets,
        "lora_dropout": 0.0,
    }
    return LoraConfig(**settings, bias="none", task_type="CAUSAL_LM", base_model_name_or_path=base)


def _named_layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)
    ]
