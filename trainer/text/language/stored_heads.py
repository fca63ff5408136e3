"""The last layer of a model, read from its folder without the rest of its weights.

For a teacher whose hidden states come from a server. Where a configuration caps or scales logits,
the head does so too:

    logits = cap · tanh(scale · (hidden · weightᵀ + bias) / cap)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM

from trainer.text.language.heads import Head
from trainer.text.language.model_folders import ModelError, cause_of, local_folder
from trainer.text.language.text_models import stored_config
from trainer.text.language.text_towers import text_config

CAPS = ("final_logit_softcapping", "output_logit_soft_cap", "logits_soft_cap")
# Granite divides by its setting, the others multiply.
FACTORS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
DIVISORS = ("logits_scaling",)


def load_head(uri: str, resolve: Callable[[str], Path] = local_folder) -> Head:
    """Return the last layer of a model in float32, on the CPU.

    Raises ModelError if it cannot be found.
    """
    folder = resolve(uri)
    config = text_config(stored_config(folder))
    names = _weight_names(folder, config)
    stored = _stored(folder, {*names, *(name.replace("weight", "bias") for name in names)})
    weight = next((stored[name] for name in names if name in stored), None)
    if weight is None or not weight.is_floating_point() or weight.element_size() < 2:
        raise ModelError(
            f"{folder} has no weights of a last layer in 16 or 32 bits ({names[0]}). Name a folder "
            "with the teacher's own, in full precision."
        )
    bias = stored.get(names[0].replace("weight", "bias"))
    cap = next((float(value) for name in CAPS if (value := getattr(config, name, None))), None)
    return Head(weight.float(), None if bias is None else bias.float(), cap, _scale(config))


def fingerprint(head: Head) -> str:
    """Return a hash of everything that the head does to hidden states."""
    digest = hashlib.sha256(repr((head.cap, head.scale, head.weight.shape)).encode())
    for tensor in (head.weight, head.bias):
        if tensor is not None:
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _scale(config: Any) -> float:
    scale = 1.0
    for name in FACTORS:
        scale *= float(getattr(config, name, None) or 1.0)
    for name in DIVISORS:
        scale /= float(getattr(config, name, None) or 1.0)
    return scale


def _weight_names(folder: Path, config: Any) -> list[str]:
    """Return the names under which the layer's weight may be stored; tied weights have several."""
    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        model.tie_weights()
        weight = model.get_output_embeddings().weight
    except Exception as error:
        raise ModelError(
            f"{folder}: its configuration describes no network with a last layer "
            f"({cause_of(error)})."
        ) from error
    names = [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter is weight
    ]
    # The layer's own name first: a file may also hold an embedding that is not tied.
    return sorted(names, key=lambda name: "embed" in name)


def _stored(folder: Path, names: set[str]) -> dict[str, Tensor]:
    return dict(_tensors(folder, names))


def _tensors(folder: Path, names: set[str]) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in names & set(file.keys()):
                yield name, file.get_tensor(name)
