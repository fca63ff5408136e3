"""Language models as the rest of the trainer uses them: network, tokenizer and facts about both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.spec.networks import Network
from trainer.text.language.heads import check_head
from trainer.text.language.model_folders import (
    ModelError,
    cause_of,
    check_folder,
    content_hash,
    is_quantised,
    local_folder,
    quantisation,
)
from trainer.text.language.text_models import TextModel, stored_config, text_facts
from trainer.text.language.text_towers import TEXT_TOWER_NAMES, text_config
from trainer.text.language.tokenizer_files import load_tokenizer

__all__ = ["LanguageModel", "ModelError", "layers_of", "load", "recompute_activations"]

NUMBER_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class LanguageModel(TextModel):
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    hash: str

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype


def load(
    network: Network,
    seed: int = 0,
    device: torch.device | str = "cpu",
    resolve: Callable[[str], Path] = local_folder,
    frozen: bool = False,
) -> LanguageModel:
    """Open a network of the run, in eval mode (no dropout) on `device`.

    `resolve` turns the network's URI into a folder. With `network.random_init` the weights are
    drawn from `seed`, even if the folder has weights. A `frozen` network may have quantised
    weights. Raises ModelError if the model cannot be used.
    """
    folder = resolve(network.model)
    settings = check_folder(folder, weights=not network.random_init, frozen=frozen)
    tokenizer = load_tokenizer(folder)
    folder_config = stored_config(folder)
    config = text_config(folder_config)
    model: Any = (
        _random(folder, config, network, seed)
        if network.random_init
        else _stored(
            folder, config, network, torch.device(device), is_tower=config is not folder_config
        )
    )
    model = model.eval()
    # Quantised weights are placed while they are loaded; some cannot be moved afterwards.
    if not is_quantised(settings):
        model = model.to(device)
    if not network.random_init:
        _require_numbers(model, folder)
    check_head(model, str(folder))
    embeddings = cast(torch.Tensor, model.get_input_embeddings().weight)
    return LanguageModel(
        model=model,
        hash=content_hash(
            folder,
            weights=not network.random_init,
            extra=f"random:{seed}" if network.random_init else "",
        ),
        **text_facts(network, folder, tokenizer, config, embeddings.shape[0]),
    )


def layers_of(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Return the transformer blocks of a network, in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def recompute_activations(model: PreTrainedModel) -> None:
    """Turn on gradient checkpointing: the same gradients with less memory and more computation.

    The backward pass then computes each layer's activations again instead of storing them. Only the
    layers' own flag says "training"; everything inside them stays in eval mode, so without dropout.
    """
    layers: list[Any] = layers_of(model)
    for layer in layers:
        layer.training = layer.gradient_checkpointing = True
        # The reentrant kind gives no gradients where a layer's input requires none, as with frozen
        # embeddings under an adapter.
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def _random(folder: Path, config: Any, network: Network, seed: int) -> PreTrainedModel:
    try:
        # The run's own generator stays as it was; the weights are drawn on the CPU.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(
                config, dtype=NUMBER_FORMATS[network.dtype], trust_remote_code=False
            )
        # The further end tokens of a chat model stand there alone.
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(
                folder, local_files_only=True
            )
    except Exception as error:
        raise ModelError(
            f"{folder}: no network can be made from its configuration ({cause_of(error)}). Check "
            "its config.json and generation_config.json."
        ) from error
    return model


def _stored(
    folder: Path, config: Any, network: Network, device: torch.device, is_tower: bool
) -> PreTrainedModel:
    transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {}
    if getattr(config, "quantization_config", None):
        options["device_map"] = {"": device}
    if is_tower:
        options["key_mapping"] = TEXT_TOWER_NAMES
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=NUMBER_FORMATS[network.dtype],
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if method := quantisation(config.to_dict()):
            raise ModelError(
                f"{folder}: its quantised weights ({method}) cannot be opened on this machine "
                f"({cause_of(error)}). Install what they need beside the trainer, or use the "
                "full-precision version of the model."
            ) from error
        raise ModelError(
            f"{folder}: the weights cannot be read ({cause_of(error)}). Save or download the model "
            "again."
        ) from error
    model, report = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    # transformers gives missing weights random values and only logs it.
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        if is_tower:
            raise ModelError(
                f"{folder} holds a {_kind(folder)}, whose text tower is not found ({missing[0]} is "
                "missing). Choose a model that writes text alone, or one of the Gemma 3, Llava, "
                "Mistral 3 or InternVL families."
            )
        further_keys = f" and {len(missing) - 1} more keys" if len(missing) > 1 else ""
        raise ModelError(
            f"{folder}: the weights lack {missing[0]}{further_keys}. Save or download the "
            "model again."
        )
    return model


def _kind(folder: Path) -> str:
    """Return the architecture that a folder's configuration names."""
    config = stored_config(folder)
    return ", ".join(config.architectures or [str(config.model_type)])


def _require_numbers(model: PreTrainedModel, folder: Path) -> None:
    """Raise ModelError if a stored weight is NaN or infinite."""
    for name, weight in model.state_dict().items():
        # Numbers of one byte are quantised weights, whose formats have no infinities.
        if not weight.is_floating_point() or weight.element_size() < 2:
            continue
        invalid = ~torch.isfinite(weight)
        # A bias of −∞ masks a token that the model must never write.
        if name.endswith(".bias"):
            invalid &= ~weight.isneginf()
        if count := int(invalid.sum()):
            what = "NaN" if weight.isnan().any() else "infinite"
            raise ModelError(
                f"{folder}: {count:,} of the {weight.numel():,} weights of {name} are {what}. The "
                "file is damaged or the training that wrote it diverged; save or download the "
                "model again, or take an earlier checkpoint."
            )
